"""The processes of a soak, and the accounts at its end."""

import asyncio
import dataclasses
import json
import random
from collections import Counter

from benchmarks.soak.vitals import metrics
from ctgkit.config import write_config
from tests.flow.processes import System, sensor_url

STEADY = 2
"""Groups of sensors that nobody kills: every sample of theirs must be acknowledged and stored."""
GROUPS = 5
ROGUES = 2
"""Credentials of the sensors that misbehave."""
ENDING_S = 60.0


class Soak:
    """A backend, an ML service behind a link that can be cut, and sensors in groups."""

    def __init__(self, directory, sensors, seed):
        self.system = System(directory)
        self.luck = random.Random(seed)
        self.began_s = asyncio.get_running_loop().time()
        entries = tuple(
            dataclasses.replace(entry, bed=f"bed {n}")
            for n, entry in enumerate(self.system.configure(sensors + ROGUES))
        )
        write_config(directory / "ctgkit.toml", entries, replace=True)
        self.rogues = entries[sensors:]
        self.groups = [entries[n:sensors:GROUPS] for n in range(GROUPS)]
        for number, group in enumerate(self.groups):
            write_config(directory / f"group-{number}.toml", group)
        self.fleets = {}
        self.ended_fleets = []
        """(group number, process) of those that were told to stop."""

    async def start(self, link):
        """Start everything; *link* is the way from the backend to the ML service."""
        await self.start_ml(link)
        self.backend = await self.system.serve("-q", ml=link.url).announced()
        for number in range(GROUPS):
            self.start_fleet(number)

    async def start_ml(self, link):
        """Start an ML service, and lead the link there."""
        self.ml = await self.system.start("ml", "--port", 0, "-q").announced()
        self.ml_since_s = asyncio.get_running_loop().time() - self.began_s
        link.lead_to(self.ml.url)

    def start_fleet(self, number):
        """Start a group's sensors."""
        self.fleets[number] = self.system.start(
            *("sensor", "--config", f"group-{number}.toml", "--url", sensor_url(self.backend.url)),
            *("--sensors", len(self.groups[number]), "--scenario", "mixed-cohort", "--json", "-q"),
            *("--seed", self.luck.randrange(1000), "--ramp", 2, "--connect-timeout", 60),
        )

    def observed(self):
        """Return the processes that live throughout, by name."""
        steady = {f"sensors {number}": self.fleets[number] for number in range(STEADY)}
        return {"serve": self.backend, "ml": self.ml, **steady}

    async def end(self):
        """Let the sensors finish, then stop the rest; return what the backend counted at last."""
        for number, fleet in self.fleets.items():
            if fleet.running:
                self.ended_fleets.append((number, fleet))
        await asyncio.gather(*(fleet.stopped(ENDING_S) for _, fleet in self.ended_fleets))
        async with asyncio.timeout(ENDING_S):
            while True:
                counted = await metrics(self.backend.url)
                if not counted["ctgkit_queue_depth", "store"]:
                    break
                await asyncio.sleep(0.2)
        self.exit_codes = await asyncio.gather(
            self.backend.stopped(ENDING_S), self.ml.stopped(ENDING_S)
        )
        return counted

    def audit(self, counted):
        """Return [(what must hold, whether it does, the numbers)] of everything that must agree."""
        rejected = sum(v for key, v in counted.items() if key[0] == "ctgkit_samples_rejected_total")
        received, accepted, resent = (
            counted[f"ctgkit_samples_{name}_total"] for name in ("received", "accepted", "resent")
        )
        stored = counted["ctgkit_samples", "stored"]
        duplicates = counted["ctgkit_samples", "duplicates"]
        rows = Counter(dict(self.system.query("SELECT uuid, count(*) FROM ctg GROUP BY uuid")))
        (twice,) = self.system.query(
            "SELECT count(*) FROM (SELECT 1 FROM ctg WHERE seq IS NOT NULL"
            " GROUP BY sensor_id, seq HAVING count(*) > 1)"
        )[0]
        accounts = [
            equal("received = accepted + rejected", received, accepted + rejected),
            equal("accepted = stored + known", accepted, stored + duplicates + resent),
            equal("stored = rows in the database", stored, rows.total()),
            equal("samples stored twice", twice, 0),
            equal("database integrity", self.system.query("PRAGMA integrity_check"), [("ok",)]),
            equal("foreign keys", self.system.query("PRAGMA foreign_key_check"), []),
            equal("exit codes of serve and ml", self.exit_codes, [0, 0]),
        ]
        told = Counter()
        for number, fleet in self.ended_fleets:
            if number >= STEADY and not fleet.out:
                continue  # told to stop before it had begun
            summary = json.loads(fleet.out)
            told[number] += summary["acked"]
            if number < STEADY:
                accounts.append(
                    equal(f"group {number}: sent = acked", summary["sent"], summary["acked"])
                )
        for number, acked in sorted(told.items()):
            kept = sum(rows[entry.id] for entry in self.groups[number])
            if number < STEADY:
                accounts.append(equal(f"group {number}: acked = stored", acked, kept))
            else:
                accounts.append(
                    (f"group {number}: acked ≤ stored", acked <= kept, f"{acked}, {kept}")
                )
        return accounts


def equal(what, one, other):
    """Return an account that says whether two things agree."""
    return what, one == other, f"{one}, {other}"
