"""Hostile bytes against each of our listeners: none falls, hangs, leaks, or miscounts."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from tests.conftest import TIME_FACTOR
from tests.flow.clients import PLAIN, dial_sensor, sample
from tests.flow.processes import System, ask, metric, sensor_url, until
from tests.fuzz.budget import FUZZ_S, lucks
from tests.fuzz.inputs import frames, handshake, request, sample_text
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import ANSWER_S, Target
from tests.ports import free_port

INPUTS_PER_BATCH = 40
MESSAGES_PER_BATCH = 400
PATHS = {
    "serve": ("/ws", "/ws/sensor?sensor_id=x", "/api/health", "/metrics", "/", "/page/state.js",
              "/api/sensors/start?count=2", "/ws?backfill=60"),
    "ml": ("/ws/ctg", "/health", "/metrics", "/sensors", "/reset/x", "/"),
    "sensor": ("/api/on", "/api/off", "/api/health", "/api/inject?event=late&size=1"),
}  # fmt: skip


class Targets:
    """One of each, and what a good client of each would do."""

    def __init__(self, directory):
        self.system = System(directory)
        self.entries = self.system.configure(4)
        self.seq = 1_000
        self.by_name = {}

    async def start(self):
        system, control = self.system, free_port()
        backend, ml = system.serve(), system.start("ml", "--port", 0)
        self.by_name["ml"] = Target(await ml.announced(), ml.url)
        self.by_name["serve"] = Target(await backend.announced(), backend.url)
        arguments = ("--control", f"127.0.0.1:{control}", "--json", "--id", self.entries[3].id)
        token = system.directory / "token"
        token.write_text(self.entries[3].token)
        sensor = system.start(
            *("sensor", "--url", sensor_url(backend.url), *arguments, "--token-file", token)
        )
        await until(sensor.lines, "the control address is bound")
        self.by_name["sensor"] = Target(sensor, f"http://127.0.0.1:{control}")
        return self

    async def serve_well(self, name):
        """Assert that a good client is served, and the target unharmed."""
        target = self.by_name[name]
        if name == "sensor":
            assert (await ask(target.url, "/api/health")).status == 200
        elif name == "ml":
            async with connect(target.url, **PLAIN) as connection:
                await connection.send(sample(9, sensorID=self.entries[0].id))
                assert json.loads(await connection.recv())["status"] == "ok"
        else:
            async with dial_sensor(target.url, self.entries[0]) as connection:
                self.seq += 1
                await connection.send(sample(self.seq))
                assert json.loads(await connection.recv()) == {"ack": self.seq}
        target.assert_unharmed()


def run(fire):
    """Run a test without the event loop's debug mode, which would be the slowest part of it."""
    asyncio.run(asyncio.wait_for(fire, (110 + 3 * FUZZ_S) * TIME_FACTOR))


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    """A backend, an ML service and a sensor, each a process."""
    made = Targets(tmp_path_factory.mktemp("fuzz"))
    yield asyncio.run(made.start())
    made.system.end()


@pytest.mark.parametrize("name", PATHS)
def test_requests(targets, name):
    """Broken, smuggled, doubled and endless HTTP requests, and noise."""

    async def fire():
        target = targets.by_name[name]
        for luck in lucks(3):
            await target.under_fire(
                [request(luck, PATHS[name], target.host) for _ in range(INPUTS_PER_BATCH)]
            )
            await targets.serve_well(name)

    run(fire())


@pytest.mark.parametrize("name", PATHS)
def test_a_second_request_behind_the_first(targets, name):
    """It is dropped without an answer or a traceback; the next client is served."""

    async def fire():
        target = targets.by_name[name]
        one = f"GET {PATHS[name][0]} HTTP/1.1\r\nHost: {target.host}\r\n\r\n".encode()
        answer = await target.exchange(2 * one)
        assert answer.count(b"HTTP/1.1 ") == 1
        await targets.serve_well(name)

    run(fire())


@pytest.mark.parametrize("name", ["sensor under ctgkit.v1", "plain sensor", "viewer", "ml"])
def test_frames(targets, name):
    """Wrong opcodes, lengths, masks, fragments, control frames, and the compressed bit."""
    target = targets.by_name["ml" if name == "ml" else "serve"]
    entry = targets.entries[1]
    valid = [sample_text(n, sensorID=entry.id) for n in range(3)]
    path = f"/ws/sensor?sensor_id={entry.id}" if "sensor" in name else "/ws"
    upgrade = handshake(
        "/ws/ctg" if name == "ml" else path, target.host, token=entry.token,
        protocol="ctgkit.v1" if "v1" in name else None,
    )  # fmt: skip

    async def fire():
        for luck in lucks(2):
            inputs = [frames(luck, valid) for _ in range(INPUTS_PER_BATCH)]
            await target.under_fire(inputs, upgrade)
            await targets.serve_well("ml" if name == "ml" else "serve")

    run(fire())


async def hear(connection, last):
    """Read replies until the one wanted; each is an acknowledgement, or an error with a reason."""
    while True:
        reply = json.loads(await connection.recv())
        if reply == last:
            return
        assert reply.keys() <= {"ack", "seq", "error"}
        assert "ack" in reply or reply["error"]


def test_messages_to_the_backend(targets):
    """Mutated samples: each is accepted or rejected with a reason, and counted as such."""
    target, entry = targets.by_name["serve"], targets.entries[2]

    async def fire():
        for luck in lucks(3):
            async with dial_sensor(target.url, entry) as connection:
                for n in range(MESSAGES_PER_BATCH):
                    await connection.send(
                        mutated(luck, sample_text(n, sensorID=entry.id)), text=n % 2 == 0
                    )
                    if n % 40 == 39:
                        await connection.send(sample(n))  # a hundred bad ones would close it
                await connection.send(sample(n))
                await hear(connection, {"ack": n})
            await targets.serve_well("serve")
        names = [
            f"ctgkit_samples_{n}_total" for n in ("received", "accepted", "rejected", "resent")
        ]
        names += [f'ctgkit_samples{{name="{name}"}}' for name in ("stored", "duplicates")]
        async with asyncio.timeout(ANSWER_S * TIME_FACTOR):  # the last group may be on its way
            while True:
                received, accepted, rejected, resent, stored, duplicates = [
                    await metric(target.url, name) for name in names
                ]
                if received == accepted + rejected and accepted == resent + stored + duplicates:
                    break
                await asyncio.sleep(0.01)
        assert rejected > 0

    run(fire())


def test_messages_to_the_ml_service(targets):
    """Mutated requests: one reply each, in order."""
    target, sensor_id = targets.by_name["ml"], targets.entries[2].id

    async def fire():
        for luck in lucks(3):
            async with connect(target.url, **PLAIN) as connection:
                for n in range(MESSAGES_PER_BATCH):
                    await connection.send(mutated(luck, sample_text(n, sensorID=sensor_id)))
                for _ in range(MESSAGES_PER_BATCH):
                    reply = json.loads(await connection.recv())
                    assert reply["status"] in ("ok", "warning", "critical") or reply["message"]
            await targets.serve_well("ml")

    run(fire())
