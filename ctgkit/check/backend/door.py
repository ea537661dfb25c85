"""Who is let in: clauses S-1 and S-2."""

import asyncio
import statistics
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

from ctgkit.check.checks import Catalogue, Mismatch, arranging
from ctgkit.check.connection import Response
from ctgkit.check.messages import TOKEN_HEADER
from ctgkit.check.rig import Bench

CHECKS = Catalogue()
STRANGER = "11111111-2222-4333-8444-555555555555"
TIMED_TRIES, TIMED_ROUNDS = 25, 3
TIMING_MAX_S = 0.002
"""Medians of two refusals may differ by this much, seconds; a network tells no less apart."""


def expect(response: Response, *statuses: int) -> None:
    """Raise a Mismatch unless the answer has one of *statuses*."""
    if response.status not in statuses:
        raise Mismatch(
            "HTTP " + " or ".join(map(str, statuses)),
            f"HTTP {response.status}" + (", let in" if response.status == 101 else ""),
        )


@CHECKS.add("S-1.1/enters", "A sensor is admitted with its id and token")
async def enters(bench: Bench) -> None:
    if not bench.settings.sensors:
        raise Mismatch("credentials to try", "none: give --sensor-id and --token-file")
    expect(await bench.handshake(bench.sensor_path(), [bench.token()]), 101)


@CHECKS.add("S-1.1/case", "A UUID in upper case is the same sensor", needs="sensor")
async def upper_case(bench: Bench) -> None:
    path = f"/ws/sensor?sensor_id={bench.own_id.upper()}"
    expect(await bench.handshake(path, [bench.token()]), 101)


@CHECKS.add("S-1.2/absent", "Without sensor_id the answer is 400")
async def no_id(bench: Bench) -> None:
    expect(await bench.handshake("/ws/sensor"), 400)


@CHECKS.add("S-1.2/empty", "With an empty sensor_id the answer is 400")
async def empty_id(bench: Bench) -> None:
    expect(await bench.handshake("/ws/sensor?sensor_id="), 400)


@CHECKS.add("S-1.3/unknown", "An unknown sensor gets 401")
async def unknown_sensor(bench: Bench) -> None:
    path = f"/ws/sensor?sensor_id={STRANGER}"
    expect(await bench.handshake(path, [(TOKEN_HEADER, "token")]), 401)


@CHECKS.add("S-1.3/wrong-token", "A wrong token gets 401", needs="sensor")
async def wrong_token(bench: Bench) -> None:
    expect(await bench.handshake(bench.sensor_path(), [(TOKEN_HEADER, "wrong")]), 401)


@CHECKS.add("S-1.3/others", "Another sensor's token gets 401", needs="pair")
async def token_of_another(bench: Bench) -> None:
    expect(await bench.handshake(bench.sensor_path(), [bench.token(1)]), 401)


@CHECKS.add("S-1.3/no-token", "No token, or an empty one, gets 401", needs="sensor")
async def no_token(bench: Bench) -> None:
    expect(await bench.handshake(bench.sensor_path()), 401)
    expect(await bench.handshake(bench.sensor_path(), [(TOKEN_HEADER, "")]), 401)


@CHECKS.add("S-1.3/near", "A token with one character missing or added gets 401", needs="sensor")
async def nearly_right_token(bench: Bench) -> None:
    name, token = bench.token()
    for wrong in {token[:-1], token + "x", token[:1], token.swapcase()} - {token, ""}:
        expect(await bench.handshake(bench.sensor_path(), [(name, wrong)]), 401)


@CHECKS.add("S-1.3/in-url", "A token in the URL is not accepted", needs="sensor")
async def token_in_url(bench: Bench) -> None:
    token = quote(bench.token()[1])
    for name in ("token", TOKEN_HEADER, "sensor_token"):
        expect(await bench.handshake(f"{bench.sensor_path()}&{name}={token}"), 401)


@CHECKS.add("S-1.3/same-body", "Both refusals have the same body", needs="sensor")
async def same_body(bench: Bench) -> None:
    unknown, wrong = await _refusals(bench)
    if (unknown.status, unknown.body) != (wrong.status, wrong.body):
        raise Mismatch(
            "the same answer to an unknown sensor and a wrong token",
            f"{unknown.status} {unknown.body[:60]!r} and {wrong.status} {wrong.body[:60]!r}",
        )


@CHECKS.add("S-1.3/same-time", "Both refusals take the same time", needs="sensor", strict=True)
async def same_time(bench: Bench) -> None:
    """Fail only for what shows in every round: a busy machine delays the one or the other."""
    found = [await _medians_s(bench)]
    while _differ(found[-1]) and len(found) < TIMED_ROUNDS:
        found.append(await _medians_s(bench))
        if (found[-1][0] > found[-1][1]) != (found[0][0] > found[0][1]):
            return
    if _differ(found[-1]):
        unknown_s, wrong_s = found[-1]
        raise Mismatch(
            f"medians within {1e3 * TIMING_MAX_S:g} ms",
            f"unknown sensor {1e3 * unknown_s:.1f} ms, wrong token {1e3 * wrong_s:.1f} ms",
        )


def _differ(medians_s: tuple[float, float]) -> bool:
    return abs(medians_s[0] - medians_s[1]) > TIMING_MAX_S


async def _medians_s(bench: Bench) -> tuple[float, float]:
    """Return how long a refusal takes: of an unknown sensor, of a wrong token."""
    loop = asyncio.get_running_loop()
    taken: list[list[float]] = [[], []]
    for _ in range(TIMED_TRIES):
        for times, path in zip(taken, _refused_paths(bench), strict=True):
            began_s = loop.time()
            await bench.handshake(path, [(TOKEN_HEADER, "wrong")])
            times.append(loop.time() - began_s)
    return statistics.median(taken[0]), statistics.median(taken[1])


def _refused_paths(bench: Bench) -> tuple[str, str]:
    return f"/ws/sensor?sensor_id={uuid.uuid4()}", bench.sensor_path()


async def _refusals(bench: Bench) -> tuple[Response, Response]:
    unknown, wrong = _refused_paths(bench)
    headers = [(TOKEN_HEADER, "wrong")]
    return await bench.handshake(unknown, headers), await bench.handshake(wrong, headers)


@CHECKS.add("S-1.5/slash", "/ws/sensor/ is 404", needs="sensor")
async def slash(bench: Bench) -> None:
    path = bench.sensor_path().replace("?", "/?")
    expect(await bench.handshake(path, [bench.token()]), 404)


@CHECKS.add(
    "S-1.5/plain", "A request that isn't an upgrade gets 426", needs="sensor", level="SHOULD"
)
async def plain_request(bench: Bench) -> None:
    expect(await bench.http(bench.sensor_path(), [bench.token()]), 426)


FOREIGN_HOST, FOREIGN_ORIGIN = "attacker.example", ("Origin", "https://attacker.example")


@CHECKS.add(
    "S-1.7/order",
    "With several reasons to refuse, the first in the list of S-1.7 applies",
    level="SHOULD",
)
async def order_of_refusals(bench: Bench) -> None:
    tries: tuple[tuple[str, str, int, Response], ...] = (
        (
            "POST to an unknown path",
            "method",
            405,
            await bench.http("/api/no-such-path", [("Content-Length", "0")], method="POST"),
        ),
        (
            "a sensor without sensor_id and without token",
            "no sensor_id",
            400,
            await bench.handshake("/ws/sensor"),
        ),
        (
            "an unknown sensor from a foreign origin",
            "Origin",
            403,
            await bench.handshake(f"/ws/sensor?sensor_id={STRANGER}", [FOREIGN_ORIGIN]),
        ),
        (
            "an unknown path with a foreign Host",
            "Host",
            403,
            await bench.http("/api/no-such-path", host=FOREIGN_HOST),
        ),
        (
            "no upgrade and a wrong token",
            "id or token",
            401,
            await bench.http(f"/ws/sensor?sensor_id={STRANGER}", [(TOKEN_HEADER, "wrong")]),
        ),
    )
    for what, reason, status, response in tries:
        later = {400, 401, 403, 404, 405, 426} - {status}
        if response.status in later:
            raise Mismatch(f"HTTP {status} ({reason}) for {what}", f"HTTP {response.status}")


@CHECKS.add("S-2.1/foreign", "A sensor or viewer from a foreign origin gets 403", needs="sensor")
async def foreign_origin(bench: Bench) -> None:
    await _from_origin(bench, FOREIGN_ORIGIN[1], 403)


@CHECKS.add(
    "S-2.1/near", "An origin that begins or ends like a loopback one gets 403", needs="sensor"
)
async def nearly_loopback_origin(bench: Bench) -> None:
    for name in ("localhost.attacker.example", "127.0.0.1.attacker.example", "notlocalhost"):
        await _from_origin(bench, f"http://{name}", 403)


@CHECKS.add("S-2.1/null", "The origin null gets 403", needs="sensor")
async def null_origin(bench: Bench) -> None:
    await _from_origin(bench, "null", 403)


@CHECKS.add("S-2.1/loopback", "A page on loopback is admitted, whatever its port", needs="sensor")
async def loopback_origin(bench: Bench) -> None:
    for origin in ("http://localhost:5173", "http://127.0.0.1:3000"):
        await _from_origin(bench, origin, 101)


@CHECKS.add("S-2.1/own", "A page of the server's own origin is admitted", needs="sensor")
async def own_origin(bench: Bench) -> None:
    scheme = "https" if bench.target.secure else "http"
    await _from_origin(bench, f"{scheme}://{bench.target.authority}", 101)


async def _from_origin(bench: Bench, origin: str, status: int) -> None:
    header = ("Origin", origin)
    expect(await bench.handshake("/ws", [*bench.viewer_headers(), header]), status)
    expect(await bench.handshake(bench.sensor_path(), [bench.token(), header]), status)


@CHECKS.add("S-2.2/foreign", "A foreign Host gets 403")
async def foreign_host(bench: Bench) -> None:
    host = f"{FOREIGN_HOST}:{bench.target.port}"
    expect(await bench.http("/api/health", host=host), 403)
    expect(await bench.handshake("/ws", bench.viewer_headers(), host=host), 403)


@CHECKS.add("S-2.2/near", "A Host that begins or ends like a loopback name gets 403")
async def nearly_loopback_host(bench: Bench) -> None:
    for name in ("localhost.attacker.example", "127.0.0.1.attacker.example", "notlocalhost"):
        expect(await bench.http("/api/health", host=f"{name}:{bench.target.port}"), 403)


@CHECKS.add("S-2.2/loopback", "A loopback name is accepted as Host")
async def loopback_host(bench: Bench) -> None:
    expect(await bench.http("/api/health", host=f"localhost:{bench.target.port}"), 200)


@CHECKS.add("S-2.5/image", "An image on a foreign page cannot switch sensors", level="SHOULD")
async def foreign_image(bench: Bench) -> None:
    headers = [*bench.viewer_headers(), ("Sec-Fetch-Site", "cross-site")]
    expect(await bench.http("/api/sensors/stop", headers), 403, 404)  # or it has no switches


@CHECKS.add("S-2.3/limit", "A connection beyond the configured limit gets 503", needs="limit")
async def too_many(bench: Bench) -> None:
    limit = bench.settings.max_connections
    await bench.canary.leave()  # a viewer less
    async with AsyncExitStack() as stack:
        for number in range(1, limit + 1):
            await _admit(bench, stack, number)
        response = await bench.handshake("/ws", bench.viewer_headers())
        if response.status != 503:
            raise Mismatch(
                f"HTTP 503 for connection {limit + 1} of {limit}", f"HTTP {response.status}"
            )


@CHECKS.add(
    "S-2.3/together", "Sensors and viewers count towards the same limit", needs="limit sensor"
)
async def counted_together(bench: Bench) -> None:
    async with _full_house(bench):
        response = await bench.handshake("/ws", bench.viewer_headers())
        if response.status != 503:
            limit = bench.settings.max_connections
            raise Mismatch(
                f"HTTP 503 for a viewer beside one sensor and {limit - 1} viewers of {limit}",
                f"HTTP {response.status}",
            )


@CHECKS.add("S-2.3/takeover", "A sensor that reconnects counts only once", needs="limit sensor")
async def takeover_in_a_full_house(bench: Bench) -> None:
    async with _full_house(bench):
        expect(await bench.handshake(bench.sensor_path(), [bench.token()]), 101)


@asynccontextmanager
async def _full_house(bench: Bench) -> AsyncIterator[None]:
    """Connect one sensor and as many viewers as there is room for."""
    await bench.canary.leave()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bench.sensor())
        with arranging("as many connections as the limit allows (S-2.3/limit)"):
            for number in range(2, bench.settings.max_connections + 1):
                await _admit(bench, stack, number)
        yield


async def _admit(bench: Bench, stack: AsyncExitStack, number: int) -> None:
    """Connect a viewer, as soon as the backend has seen that earlier ones left."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + bench.timeout_s
    while True:
        try:
            await stack.enter_async_context(bench.viewer())
            return
        except Mismatch as mismatch:
            if loop.time() > deadline_s:
                raise Mismatch(
                    f"{bench.settings.max_connections} connections at a time",
                    f"connection {number} isn't let in: {mismatch.actual} (are others connected?)",
                ) from None
        await asyncio.sleep(0.02)


@CHECKS.add(
    "S-2.4/half-open",
    "200 silent connections delay no one",
    needs="witness",
    strict=True,
)
async def half_open(bench: Bench) -> None:
    await _under_siege(bench, 200, b"")


@CHECKS.add(
    "S-2.4/slowloris",
    "200 unfinished handshakes delay no one",
    needs="witness",
    strict=True,
)
async def slowloris(bench: Bench) -> None:
    await _under_siege(bench, 200, b"GET /ws HTTP/1.1\r\nHost: ")


@CHECKS.add("S-2.4/dropped", "An unfinished handshake is dropped within 30 s", strict=True)
async def unfinished_is_dropped(bench: Bench) -> None:
    reader, writer = await bench.target.open()
    try:
        writer.write(b"GET /ws HTTP/1.1\r\nHost: ")
        async with asyncio.timeout(30):
            await reader.read(-1)
    except ConnectionError:
        pass  # dropped, rudely
    except TimeoutError:
        raise Mismatch("the connection dropped within 30 s", "it is still open") from None
    finally:
        writer.transport.abort()


@CHECKS.add(
    "S-2.4/flood",
    "A sensor flooding 5000 samples does not delay other sensors",
    needs="witness pair",
    strict=True,
)
async def flood(bench: Bench) -> None:
    async with bench.sensor(1) as flooder, bench.sensor() as sensor:
        with arranging("5000 samples sent"):
            await flooder.send(*(bench.fresh()[1] for _ in range(5000)))
        async with bench.watch() as watch:
            sec = await bench.sends(sensor)
            await watch.saw(sec)


async def _under_siege(bench: Bench, count: int, beginning: bytes) -> None:
    writers = []
    try:
        for _ in range(count):
            _, writer = await bench.target.open()
            writer.write(beginning)
            writers.append(writer)
        async with bench.watch() as watch, bench.sensor() as sensor:
            sec = await bench.sends(sensor)
            await watch.saw(sec)
    finally:
        for writer in writers:
            writer.transport.abort()
