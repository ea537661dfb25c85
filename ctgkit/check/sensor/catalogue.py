"""The checks of a sensor: clauses S-7, and what S-1, S-4, S-6 and H-3 ask of it.

Those after which a sensor may rightly stay away come last.
"""

import asyncio
import json
import math
import re
import uuid
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ctgkit.check.checks import Catalogue, Mismatch, NotJudged, arranging
from ctgkit.check.connection import exchange, until
from ctgkit.check.liveness import answers_pings
from ctgkit.check.messages import excerpt
from ctgkit.check.sensor.rig import SensorBench

SENSOR = Catalogue()
STREAM_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
SEC_MAX = 31_622_400
FIRST_PAUSE_S, LEEWAY_S = 1.0, 1.5
"""The first pause before a sensor redials, and what a busy machine may add, seconds."""
REDIAL_MAX_S = 30 + LEEWAY_S
REFUSED_S, STORM_MAX = 12.0, 20
"""How long connections are refused, and attempts in this time that are a storm: pauses of
0.1 s that double make 7."""
UNACKED_MAX_S = 30.0
USELESS_S = 25.0
"""How long a sensor is watched that should wait 30 s, seconds."""
STOPPED_S = 10.0
REFUSALS_MAX = 4
"""How often a frame may be refused before the sensor should have dropped it."""


@SENSOR.add(
    "S-7.1/redials", "It reconnects after a lost connection, 1001, 1011 and 1012, first within 1 s",
    needs="sensor",
)  # fmt: skip
async def redials(bench: SensorBench) -> None:
    """Come first: later pauses may be longer."""
    within_s = FIRST_PAUSE_S + LEEWAY_S
    for code in (1006, 1001, 1011, 1012):
        known = await bench.close(code)
        visit = await bench.comes_again(within_s, f"within {within_s:g} s of {code}", known)
        await bench.sends(visit, 1)
        within_s = REDIAL_MAX_S


@SENSOR.add(
    "S-1.1/dials",
    "It connects to /ws/sensor with its UUID, and the token in the header",
    needs="sensor",
)
async def dials(bench: SensorBench) -> None:
    visit = bench.visit
    parts = urlsplit(visit.path)
    if not parts.path.endswith("/ws/sensor"):
        raise Mismatch("the path /ws/sensor", parts.path)
    try:
        uuid.UUID(parse_qs(parts.query).get("sensor_id", [""])[0])
    except ValueError:
        raise Mismatch("sensor_id=UUID in the query", parts.query or "no query") from None
    if not visit.token:
        raise Mismatch("the token in X-Auth-Sensor-Token", "no such header")
    if visit.token in visit.path:
        raise Mismatch("the token is in the header only", "it is in the URL too")


@SENSOR.add("S-4.1/sample", "It sends samples within the limits of S-4.7", needs="sensor")
async def sends_samples(bench: SensorBench) -> None:
    await bench.sends(bench.visit, 5)
    own = parse_qs(urlsplit(bench.visit.path).query).get("sensor_id", [""])[0].lower()
    for one in bench.visit.samples:
        if problem := _problem(one, own):
            raise Mismatch("a sample as in S-4.1", f"{problem}: {excerpt(json.dumps(one))}")


def _problem(one: Any, own: str) -> str:
    """Return what is wrong with a sample."""
    if not isinstance(one, dict):
        return "no JSON object"
    members = {name.lower(): value for name, value in one.items()}
    data = members.get("data")
    if not isinstance(data, dict):
        return "data is no object"
    if (members.get("sensorid") or own).lower() != own:
        return "another sensor's sensorID"
    values = {name.lower(): value for name, value in data.items()}
    limits = {"bpmchild": (20, 300), "uterus": (-50, 300), "spasms": (-50, 300)}
    numbers = [("secFromStart", members.get("secfromstart"), (0, SEC_MAX))]
    numbers += [(name, values[name], limits[name]) for name in limits.keys() & values.keys()]
    for name, value, (low, high) in numbers:
        if value is None and name != "secFromStart":
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return f"{name} is not a number"
        if not low <= value <= high and not (name == "bpmchild" and value == 0):
            return f"{name} is not in {low} to {high}"
    return ""


@SENSOR.add("C-2.1/sensor-pong", "It answers a ping with its payload", needs="sensor")
async def pongs(bench: SensorBench) -> None:
    assert bench.visit.link is not None
    await answers_pings(bench.visit.link, max(5.0, bench.timeout_s))


@SENSOR.add("S-6.1/without", "It also sends when ctgkit.v1 is not selected", needs="sensor")
async def without_acknowledgements(bench: SensorBench) -> None:
    bench.chooses = False
    known = await bench.close(1001)
    await bench.sends(await bench.comes_again(REDIAL_MAX_S, "after 1001", known), 3)


@SENSOR.add("S-6.2/numbers", "Each sample has an integer seq, and they increase", needs="sensor v1")
async def numbered(bench: SensorBench) -> None:
    await bench.sends(bench.visit, 5)
    seen = bench.visit.numbers
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in seen):
        raise Mismatch("integers from 0", str(seen[:8]))
    if any(later <= n for n, later in pairwise(seen)):
        raise Mismatch("numbers that increase", str(seen[:8]))


@SENSOR.add("S-6.7/name", "It names its stream and keeps the name across connections",
    needs="sensor v1", level="SHOULD",
)  # fmt: skip
async def stream(bench: SensorBench) -> None:
    name = bench.visit.stream
    if not STREAM_NAME.fullmatch(name):
        raise Mismatch("X-Sensor-Stream: 1 to 64 letters, digits, - _ .", repr(name))
    known = await bench.close(1001)
    later = await bench.comes_again(REDIAL_MAX_S, "after 1001", known)
    if later.stream != name:
        raise Mismatch(f"the same name, {name}", later.stream)


@SENSOR.add(
    "S-6.5/again", "After a reconnect it first sends what was neither acknowledged nor rejected",
    needs="sensor v1",
)  # fmt: skip
async def sends_again(bench: SensorBench) -> None:
    """Acknowledge some samples, reject one, and let three wait for the next connection."""
    visit = bench.visit
    bench.acknowledges = False
    await bench.sends(visit, len(visit.samples) + 1)  # none of these is acknowledged
    first = visit.numbers[-1]
    await bench.sends(visit, len(visit.samples) + 3)
    assert visit.link is not None
    await visit.link.send(f'{{"error": "by ctgkit check", "seq": {first + 1}}}')
    await visit.link.send(f'{{"ack": {first}}}')
    await answers_pings(visit.link, max(5.0, bench.timeout_s))  # it has read that
    known = {n: s for n, s in zip(visit.numbers, visit.samples, strict=True) if n > first + 1}
    await bench.close(1006)
    later = await bench.comes_again(REDIAL_MAX_S, "after a loss")
    await bench.sends(later, len(known))
    wanted, got = list(known), later.numbers[: len(known)]
    if got != wanted:
        raise Mismatch(
            f"samples {wanted} first: {first} was acknowledged, {first + 1} rejected", f"{got}"
        )
    if later.samples[: len(known)] != list(known.values()):
        raise Mismatch("they are as they were", "their values differ")


@SENSOR.add(
    "S-7.1/pauses",
    "On 503 its pauses grow and it does not flood the backend with attempts",
    needs="sensor",
)
async def pauses_grow(bench: SensorBench) -> None:
    bench.refuses = 503
    first = len(bench.visits)
    await bench.close(1001)
    await asyncio.sleep(REFUSED_S)
    tries = [visit.at_s for visit in bench.visits[first:]]
    pauses = [later - one for one, later in pairwise(tries)]
    if not pauses:
        raise Mismatch(f"it tries several times in {REFUSED_S:g} s", f"{len(tries)} times")
    if len(tries) > STORM_MAX:
        raise Mismatch(f"{STORM_MAX} attempts in {REFUSED_S:g} s at most", f"{len(tries)}")
    if max(pauses) <= pauses[0] and len(pauses) > 2:
        raise Mismatch("pauses that grow", " s, ".join(f"{p:.1f}" for p in pauses) + " s")


@SENSOR.add("S-7.2/dropped", "A frame refused with 1009 is not resent forever", needs="sensor v1")
async def drops_what_is_refused(bench: SensorBench) -> None:
    await bench.sends(bench.visit, 1)
    number = bench.visit.numbers[-1] + 2
    bench.chokes = (number, 1009)
    first = len(bench.visits) - 1

    def refused() -> int:
        return sum(visit.choked for visit in bench.visits[first:])

    def beyond() -> bool:
        last = bench.visit.numbers[-1:]
        return not bench.visit.choked and any(isinstance(n, int) and n > number for n in last)

    with arranging("a sample with the number after the next one (S-6.2)"):
        await until(refused, f"sample {number}", lambda: "it doesn't come", 3 * bench.timeout_s)
    await until(
        lambda: beyond() or refused() > REFUSALS_MAX,
        "it goes on after a refused frame", lambda: "nothing comes", 10 * bench.timeout_s + 30,
    )  # fmt: skip
    if refused() > REFUSALS_MAX:
        raise Mismatch("sample dropped once it was refused", f"sent {refused()} times")


@SENSOR.add(
    "S-7.3/redials", "When nothing it sent is answered for 30 s, it reconnects",
    needs="sensor v1", strict=True,
)  # fmt: skip
async def gives_up_waiting(bench: SensorBench) -> None:
    bench.acknowledges = False
    limit_s = UNACKED_MAX_S + REDIAL_MAX_S
    await bench.comes_again(limit_s, f"after {UNACKED_MAX_S:g} s without an acknowledgement")


@SENSOR.add("H-3.1/health", "Its control address answers OK", needs="control")
async def control_health(bench: SensorBench) -> None:
    await _asked(bench, "health", '"OK"')


@SENSOR.add(
    "H-3.1/switch", "/api/off disconnects it, /api/on reconnects it", needs="sensor control"
)
async def switched(bench: SensorBench) -> None:
    visit = bench.visit
    await _asked(bench, "off")
    await until(
        lambda: visit.ended_s, "its connection ends", lambda: "it is open", 3 * bench.timeout_s
    )
    known = len(bench.visits)
    await _asked(bench, "on")
    await until(
        lambda: len(bench.visits) > known, "it dials", lambda: "it doesn't", 3 * bench.timeout_s
    )


async def _asked(bench: SensorBench, what: str, wanted: str = "") -> None:
    control = bench.control
    assert control is not None
    headers = [("Host", control.authority), ("Connection", "close")]
    try:
        response = await exchange(control, f"/api/{what}", headers, "GET", 3 * bench.timeout_s)
    except OSError as error:
        raise NotJudged(f"{control.web_url}: {error}") from error
    said = response.body.decode(errors="replace")
    if response.status != 200 or wanted not in said:
        raise Mismatch(f"/api/{what} is 200 {wanted}".strip(), f"{response.status} {excerpt(said)}")


@SENSOR.add("S-7.2/refused", "After 401 it waits 30 s or longer, or stops", needs="sensor")
async def waits_when_refused(bench: SensorBench) -> None:
    bench.refuses = 401
    known = await bench.close(1001)
    await bench.comes_again(REDIAL_MAX_S, "after 1001", known)
    await _stays_away(bench, USELESS_S, "401", known + 1)


@SENSOR.add("S-7.2/replaced", "After 4409 it stops", needs="sensor")
async def stops_when_replaced(bench: SensorBench) -> None:
    known = await bench.close(4409)
    await _stays_away(bench, STOPPED_S, "4409", known)


async def _stays_away(bench: SensorBench, for_s: float, after: str, known: int) -> None:
    await asyncio.sleep(for_s)
    if tries := bench.visits[known:]:
        raise Mismatch(
            f"it stays away for {for_s:g} s after {after}", f"it dialled {len(tries)} times"
        )
