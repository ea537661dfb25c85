"""Our clients against a hostile backend: what it sends breaks neither the sensor nor the watch."""

import asyncio
import contextlib
import random
from collections import Counter

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from tests.conftest import TIME_FACTOR
from tests.flow.processes import System, until
from tests.fuzz.budget import FUZZ_S
from tests.fuzz.inputs import frames
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import Target

VALID = {
    "sensor": (b'{"ack": 3}', b'{"error": "no", "seq": 4}'),
    "watch": (
        b'{"sensorID": "0c7f", "secFromStart": 9.5, "data": {"BPMChild": 140.5, "uterus": 15,'
        b' "spasms": 0}, "prediction": {"hypoxia_probability": 0.4, "hypoxia_risk": "medium",'
        b' "alerts": ["a"], "confidence": 1, "recommendations": []}, "status": "ok",'
        b' "timestamp": "2026-01-01T00:00:00Z"}',
        b'{"status": "error", "message": "no", "timestamp": "2026-01-01T00:00:00Z"}',
    ),
}
MESSAGES_PER_CONNECTION = 200


class HostileBackend:
    """Accepts everybody, sends them nonsense, then frames that break RFC 6455."""

    def __init__(self):
        self.connections = Counter()

    async def handle(self, connection):
        """Be hostile to one connection."""
        name = "sensor" if "sensor_id" in connection.request.path else "watch"
        luck = random.Random(self.connections[name] if not FUZZ_S else None)
        with contextlib.suppress(ConnectionClosed):
            for _ in range(MESSAGES_PER_CONNECTION):
                await connection.send(mutated(luck, luck.choice(VALID[name])))
            await connection.send(VALID[name][0].decode())
            connection.transport.write(frames(luck, VALID[name], masked=False))
        self.connections[name] += 1


@pytest.mark.parametrize("name", VALID)
def test_a_hostile_backend(name, tmp_path):
    """They log what they can't read, reconnect, and live on."""
    system, backend = System(tmp_path), HostileBackend()
    system.configure(1)

    async def fire():
        select = {"select_subprotocol": lambda _, offered: offered[0] if offered else None}
        async with serve(backend.handle, "127.0.0.1", 0, compression=None, **select) as server:
            address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            arguments = (
                ("watch", f"http://{address}", "--json")
                if name == "watch"
                else ("sensor", "--url", f"ws://{address}/ws/sensor", "--rate", 50)
            )
            target = Target(system.start(*arguments), f"http://{address}")
            await until(lambda: backend.connections[name] > 0, "it is there")
            target.assert_unharmed()
            assert len(target.process.err.splitlines()) < 100  # a burst stays readable
            await asyncio.sleep(FUZZ_S)
            seen = backend.connections[name]
            await until(lambda: backend.connections[name] > seen, "it comes again")
            target.assert_unharmed()

    try:
        asyncio.run(asyncio.wait_for(fire(), (110 + FUZZ_S) * TIME_FACTOR))
    finally:
        system.end()
