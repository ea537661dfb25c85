"""Faults between a sensor and its socket, seen by our own backend: nothing acknowledged is lost."""

import contextlib
import json
import math
import sqlite3
import time

import pytest

from ctgkit.faults.schema import parse_fault
from ctgkit.sensor.fleet import run_fleet
from ctgkit.sensor.settings import FleetSettings
from ctgkit.simulate.repertoire import Repertoire
from tests.sensor.backends import Backend, running
from tests.server.parties import SENSORS, backend_on, until

COUNT = 200
REASONS = {"corrupt": "range", "truncate": "json", "wrong_type": "type", "wrong_id": "sensor_id"}
"""Fault -> why our backend rejects what it makes."""


def fleet(repertoire, url, **changes):
    values = {
        "url": url,
        "credentials": SENSORS[:1],
        "make_source": repertoire.source,
        "make_line": repertoire.line,
        "on_fault": repertoire.note_fault,
        "first_seq": 1000,
        "speed": math.inf,
        "duration_s": COUNT / 4,
    }
    return FleetSettings(**values | changes)


def stored(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT seq, sec_from_start FROM ctg"))


async def play(tmp_path, *faults, **changes):
    """Run one sensor through faults; return backend counters, summary, what is stored, truth."""
    repertoire = Repertoire("normal-reactive", seed=3, faults=[parse_fault(f) for f in faults])
    path = tmp_path / "ctg.db"
    async with backend_on(path, grace_s=60) as backend:
        url = backend.url.replace("http", "ws", 1) + "/ws/sensor"
        summary = await run_fleet(fleet(repertoire, url, **changes))
        await until(lambda: not backend.health()["sensors"])
    repertoire.write_truth(tmp_path / "truth.jsonl", [SENSORS[0].id])
    lines = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()[1:]]
    truth = [e for e in lines if e["kind"] == "fault" and e["subtype"] != "off"]
    return backend.counters, summary, stored(path), truth


def struck(truth, kind):
    """Return the numbers of the messages that a fault struck."""
    return {
        n
        for e in truth
        if e["subtype"] == kind
        for n in range(e["details"]["first_message"], e["details"]["last_message"] + 1)
    }


@pytest.mark.parametrize(
    "fault",
    [
        "drop:rate=0.1", "duplicate:rate=0.1", "reorder:rate=0.1,by=3", "delay:rate=0.1,jitter=2",
        "corrupt:rate=0.1", "truncate:rate=0.1", "wrong_type:rate=0.1", "stale_time:rate=0.1,by=3",
        "wrong_id:rate=0.1", "latency:by=0.05,jitter=0.05", "bandwidth:bytes_per_s=200000",
        "reset:rate=0.02", "half_open:at=20,for=0.2", "slow_close:by=0.2",
        "handshake_failure:at=0", "partition:at=20,for=0.2",
    ],
)  # fmt: skip
async def test_the_backend_survives_every_fault(tmp_path, fault):
    """received = accepted + rejected; all that is unstruck or only resent is stored, once."""
    counters, summary, rows, truth = await play(tmp_path, fault)
    kind = fault.partition(":")[0]
    assert summary.faults == {kind: summary.faults[kind]}
    assert summary.unacked == 0
    assert not summary.failures
    assert counters.received == counters.accepted + counters.rejected.total()
    everything = set(range(1000, 1000 + COUNT))
    if kind in REASONS or kind == "drop":
        hit = {1000 + n for n in struck(truth, kind)}
        assert len(hit) == summary.faults[kind] == summary.withdrawn > 0
        assert set(rows) == everything - hit
        assert set(counters.rejected) <= {REASONS.get(kind)}
    else:
        assert set(rows) == everything
        assert counters.rejected.total() == 0
    assert summary.acked + summary.withdrawn == COUNT
    if kind == "stale_time":
        late = {n for n in struck(truth, kind) if n >= 12}
        assert all(rows[1000 + n] == n / 4 - 3 for n in late)
    if kind in ("reset", "half_open"):
        assert summary.reconnects == summary.faults[kind] > 0


async def test_the_truth_says_what_was_done_to_which_sample(tmp_path):
    """Times and numbers of a window; the same run tells the same, a longer one begins with it."""
    faults = ("drop:from=10,to=11", "wrong_id:rate=0.05", "reset:at=30")
    _, _, rows, truth = await play(tmp_path, *faults)
    dropped = [e for e in truth if e["subtype"] == "drop"]
    assert [(e["onset_s"], e["end_s"], e["details"]) for e in dropped] == [
        (10.0, 10.75, {"first_message": 40, "last_message": 43})
    ]
    assert not {1040, 1041, 1042, 1043} & set(rows)
    assert [e["onset_s"] for e in truth if e["subtype"] == "reset"] == [30.0]
    (tmp_path / "ctg.db").rename(tmp_path / "short.db")
    longer = (await play(tmp_path, *faults, duration_s=100.0))[3]
    assert [e for e in longer if e["onset_s"] < 50] == truth


async def test_faults_of_a_scenario_are_applied(tmp_path):
    """A file with [[fault]] does to its sensors what --fault does."""
    scenario = tmp_path / "mine.toml"
    scenario.write_text('[meta]\nextends = "normal-reactive"\n[[fault]]\nkind = "drop"\nto = 5\n')
    backend = Backend()
    repertoire = Repertoire(str(scenario))
    async with running(backend) as url:
        summary = await run_fleet(fleet(repertoire, url))
    assert [s["secFromStart"] for _, s in backend.received[:2]] == [5.0, 5.25]
    assert (summary.faults, summary.withdrawn) == ({"drop": 20}, 20)


async def test_without_acks_the_same_samples_are_struck(tmp_path):
    """A backend that doesn't speak ctgkit.v1: the rest arrives, without numbers."""
    seen = []
    for acks in (True, False):
        backend = Backend()
        repertoire = Repertoire("normal-reactive", faults=[parse_fault("drop:rate=0.2")])
        async with running(backend, acks=acks) as url:
            await run_fleet(fleet(repertoire, url))
        seen.append([s["secFromStart"] for _, s in backend.received])
    assert seen[0] == seen[1]
    assert 100 < len(seen[0]) < COUNT
    assert "seq" not in backend.received[0][1]


async def test_latency_and_partition_take_their_time():
    """A struck sample arrives no earlier than the fault lets it."""
    arrivals = []

    class Clocked(Backend):
        async def reply(self, connection, sample, n):
            arrivals.append(time.monotonic())
            await super().reply(connection, sample, n)

    async with running(Clocked()) as url:
        for fault in ("latency:by=0.3", "partition:at=25,for=0.3"):
            arrivals.clear()
            strikes = []
            repertoire = Repertoire("normal-reactive", faults=[parse_fault(fault)])
            settings = fleet(
                repertoire,
                url,
                speed=200.0,
                on_fault=lambda _, deed, strikes=strikes: strikes.append((time.monotonic(), deed)),
            )
            await run_fleet(settings)
            struck_at, deed = strikes[0]
            assert arrivals[deed.n] - struck_at >= 0.29


@pytest.mark.parametrize("fault", ["drop:rate=1", "latency:by=0.5"])
async def test_what_a_fault_keeps_back_is_no_silence_of_the_backend(tmp_path, monkeypatch, fault):
    """The connection stands, though nothing is acknowledged, or late."""
    monkeypatch.setattr("ctgkit.sensor.client.ACK_PATIENCE_S", 0.1)
    _, summary, _, _ = await play(tmp_path, fault, speed=20.0, duration_s=10.0)
    assert summary.sent == 40
    assert summary.reconnects == 0
