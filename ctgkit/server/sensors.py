"""The sensors' control addresses: what ``/api/sensors/start`` and ``/api/sensors/stop`` drive."""

import asyncio
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Sequence

from ctgkit.answers import Answer, json_answer
from ctgkit.config import SensorEntry

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
"""How long one sensor may take to answer, seconds; the others don't wait for it."""
STARTING_S = 10.0
"""For so long a sensor that was told to start counts as running, seconds."""


class SensorControls:
    """Starts configured sensors one after another, stops all.

    Parameters
    ----------
    sensors : sequence of SensorEntry
        In the order in which they are started.
    connected : collection of str
        Live view of the ids that are connected.
    """

    def __init__(self, sensors: Sequence[SensorEntry], connected: Collection[str]) -> None:
        self._sensors = [s for s in sensors if s.control]
        self._connected = connected
        self._started_at_s: dict[str, float] = {}

    async def start(self, count: int) -> Answer:
        """Start the next *count* sensors that don't run."""
        if not self._sensors:
            return json_answer({"error": "no sensor has a control address"}, 400)
        now_s = time.monotonic()
        waiting = [
            s
            for s in self._sensors
            if s.id not in self._connected
            and now_s - self._started_at_s.get(s.id, -STARTING_S) >= STARTING_S
        ][:count]
        if not waiting:
            return json_answer({"error": "all sensors are already started"}, 400)
        for sensor in waiting:  # claimed before the first await: two calls start two sensors
            self._started_at_s[sensor.id] = now_s
        problems = await asyncio.gather(*(_call(s, "on") for s in waiting))
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
        await asyncio.gather(*(_call(s, "off") for s in self._sensors))
        return json_answer({"message": "All sensors stopped successfully"})


async def _call(sensor: SensorEntry, verb: str) -> str:
    """Call a control address; return what went wrong, without internal addresses, or ""."""
    try:
        await asyncio.to_thread(_get, f"http://{sensor.control}/api/{verb}")
    except urllib.error.HTTPError as error:
        problem = f"returned status {error.code}"
        error.close()
    except (OSError, ValueError) as error:
        log.warning("sensor %s: /api/%s: %s", sensor.id, verb, error)
        return "could not be reached"
    else:
        return ""
    log.info("sensor %s: /api/%s %s", sensor.id, verb, problem)
    return problem


def _get(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_S) as response:
        response.read(65_536)
