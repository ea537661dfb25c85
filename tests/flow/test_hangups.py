"""A peer that accepts and hangs up before the handshake: on uvloop websockets calls that closed."""

import socket
import threading

import pytest

from ctgkit.bench.backend import Backend
from ctgkit.bench.load import measure
from ctgkit.config import new_sensors
from tests.flow.processes import sensor_url


@pytest.fixture
def rude():
    """Return the address of somebody who hangs up on everybody."""
    listener = socket.create_server(("127.0.0.1", 0))

    def hang_up():
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=hang_up, daemon=True).start()
    yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


async def test_a_backend_survives_it(system, rude):
    """As its ML service."""
    system.configure(1)
    backend = await system.serve("--ml-retry", 0.05, ml=f"{rude}/ws/ctg").announced()
    sensor = system.start("sensor", "--url", sensor_url(backend.url), "--duration", 2)
    assert await sensor.ended() == 0, sensor.err
    assert await backend.stopped() == 0, backend.err


async def test_a_sensor_and_a_bench_say_so(system, rude):
    """One line, exit code 3 or a level that failed, never a traceback."""
    system.configure(1)
    sensor = system.start("sensor", "--url", f"{rude}/ws/sensor", "--connect-timeout", 0.3)
    level = await measure(
        Backend(base=rude, sensors=new_sensors(2)), 2, rate_hz=4.0, warm_up_s=0, window_s=0.3
    )
    assert "2 sensors could not connect" in level.refused
    assert await sensor.ended() == 3
    assert "Traceback" not in sensor.err
