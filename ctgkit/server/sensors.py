"""The sensors' control addresses: what ``/api/sensors/start`` and ``/api/sensors/stop`` drive."""

import asyncio
import json
import logging
import time
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlencode

from ctgkit.config import SensorEntry
from ctgkit.errors import excerpt
from ctgkit.net.addresses import host_and_port
from ctgkit.net.http import Answer, json_answer, problem
from ctgkit.server.pageasks import Order

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
"""How long one sensor may take to answer, seconds; the others don't wait for it."""
ORDER_TIMEOUT_S = 8.0
"""How long one may take to do what somebody told it alone, seconds: it stops when all that it
measured is acknowledged. Below the time that a request may take in all."""
CALLS_MAX = 100
"""Sensors that are called at a time."""
LINE_MAX_BYTES = 1024
ANSWER_MAX_BYTES = 8 * 1024
"""What is read of a sensor's answer to an order."""
_PATHS = {
    "start": "/api/on",
    "stop": "/api/off",
    "inject": "/api/inject",
    "change": "/api/change",
}
_DONE = {"start": "started", "stop": "stopped", "inject": "injected", "change": "changing"}
NOT_REACHED = (
    "the sensor could not be reached: nothing answers at its control address; ours listen there"
    " with `ctgkit sensor --control HOST:PORT`"
)
STARTING_S = 10.0
"""For so long a sensor that was told to start counts as running, seconds."""


class SensorControls:
    """Starts configured sensors one after another, stops all.

    Parameters
    ----------
    sensors : sequence of SensorEntry
        In the order in which they are started; it may change.
    connected : collection of str
        Live view of the ids that are connected.
    """

    def __init__(self, sensors: Sequence[SensorEntry], connected: Collection[str]) -> None:
        self._known = sensors
        self._connected = connected
        self._started_at_s: dict[str, float] = {}
        self._lines = asyncio.Semaphore(CALLS_MAX)

    @property
    def _sensors(self) -> list[SensorEntry]:
        return [one for one in self._known if one.control]

    async def start(self, count: int) -> Answer:
        """Start the next *count* sensors that don't run."""
        sensors = self._sensors
        if not sensors:
            return json_answer({"error": "no sensor has a control address"}, 400)
        now_s = time.monotonic()
        waiting = [
            s
            for s in sensors
            if s.id not in self._connected
            and now_s - self._started_at_s.get(s.id, -STARTING_S) >= STARTING_S
        ][:count]
        if not waiting:
            return json_answer({"error": "all sensors are already started"}, 400)
        for sensor in waiting:  # claimed before the first await: two calls start two sensors
            self._started_at_s[sensor.id] = now_s
        problems = await asyncio.gather(*(_call(s, "on", self._lines) for s in waiting))
        started = [s for s, problem in zip(waiting, problems, strict=True) if not problem]
        for sensor in set(waiting) - set(started):
            self._started_at_s.pop(sensor.id, None)
        if not started:
            return json_answer({"error": f"sensor {waiting[0].id} {problems[0]}"}, 400)
        described = [{"uuid": s.id, "ip": s.control, "connected": True} for s in started]
        answer = {"message": "Sensor started successfully", "sensor": described[-1]}
        return json_answer(answer | ({"sensors": described} if count > 1 else {}))

    async def stop(self) -> Answer:
        """Stop all sensors; does no harm when none runs."""
        self._started_at_s.clear()
        await asyncio.gather(*(_call(s, "off", self._lines) for s in self._sensors))
        return json_answer({"message": "All sensors stopped successfully"})

    async def order(self, order: Order) -> Answer:
        """Have one sensor do something, and pass on what it says of it."""
        sensor = next((s for s in self._sensors if s.id == order.sensor), None)
        if sensor is None:
            return problem(400, "this sensor has no control address")
        self._started_at_s.pop(sensor.id, None)
        query = urlencode(order.parameters)
        path = _PATHS[order.verb] + (f"?{query}" if query else "")
        try:
            async with self._lines, asyncio.timeout(ORDER_TIMEOUT_S):
                status, body = await _ask(sensor.control or "", path)
        except (OSError, ValueError, EOFError) as error:  # TimeoutError is an OSError
            log.warning("sensor %s: %s: %s", sensor.id, path, str(error) or type(error).__name__)
            return problem(400, NOT_REACHED)
        said = _object(body)
        if not 200 <= status < 300:
            reason = said.get("error")
            words = reason.get("message") if isinstance(reason, dict) else None
            return problem(400, excerpt(str(words or f"the sensor returned status {status}")))
        log.info("sensor %s: %s", sensor.id, path)
        at_s = said.get("at_s")
        at_s = float(at_s) if isinstance(at_s, int | float) and 0 <= at_s < 1e9 else 0.0
        return json_answer({"message": _DONE[order.verb], "sensor": sensor.id, "at_s": at_s})


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


async def _ask(address: str, path: str) -> tuple[int, bytes]:
    """Return status and body of a GET, of which a little is read."""
    reader, writer = await asyncio.open_connection(*host_and_port(address), limit=LINE_MAX_BYTES)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        text = bytearray()
        while len(text) < ANSWER_MAX_BYTES and (part := await reader.read(LINE_MAX_BYTES)):
            text += part
        head, _, body = bytes(text).partition(b"\r\n\r\n")
        words = head.split(b"\n", 1)[0].split()
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise ValueError("answered, but not in HTTP")
        return int(words[1]), body
    finally:
        writer.close()


async def _call(sensor: SensorEntry, verb: str, lines: asyncio.Semaphore) -> str:
    """Call a control address; return what went wrong, without internal addresses, or ""."""
    try:
        async with lines, asyncio.timeout(TIMEOUT_S):
            status = await _get(sensor.control or "", f"/api/{verb}")
    except (OSError, ValueError, EOFError) as error:  # TimeoutError is an OSError
        log.warning("sensor %s: /api/%s: %s", sensor.id, verb, str(error) or type(error).__name__)
        return "could not be reached"
    if 200 <= status < 300:
        return ""
    log.info("sensor %s: /api/%s returned status %d", sensor.id, verb, status)
    return f"returned status {status}"


async def _get(address: str, path: str) -> int:
    """Return the status of a GET; the rest isn't read.

    Not urllib: it follows redirects, by which a sensor could send us to any address in our
    network, and its timeout starts again with each byte.
    """
    reader, writer = await asyncio.open_connection(*host_and_port(address), limit=LINE_MAX_BYTES)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        words = (await reader.readuntil(b"\n")).split()
        if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
            raise ValueError("answered, but not in HTTP")
        return int(words[1])
    except asyncio.LimitOverrunError as error:
        raise ValueError("answered, but not in HTTP") from error
    finally:
        writer.close()
