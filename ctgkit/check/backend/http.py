"""Pages and sensor control: clauses H."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ctgkit.check.backend.door import expect
from ctgkit.check.checks import Catalogue, Mismatch, Skip
from ctgkit.check.connection import until
from ctgkit.check.rig import Bench

CHECKS = Catalogue()
STOP_MAX_S = 10.0
"""How long a stop with one hanging sensor may take, seconds."""


@CHECKS.add("H-1.1/health", "/api/health is 200 with status, service, timestamp")
async def health(bench: Bench) -> None:
    response = await bench.http("/api/health")
    expect(response, 200)
    body = response.json
    members = ("status", "service", "timestamp")
    if not isinstance(body, dict) or not all(isinstance(body.get(m), str) for m in members):
        raise Mismatch("an object with the texts " + ", ".join(members), repr(response.body[:120]))
    if body["status"] not in ("ok", "degraded"):
        raise Mismatch("status ok or degraded", str(body["status"]))


@CHECKS.add("H-1.1/degraded", "/api/health says degraded while the ML service is away", needs="ml")
async def degraded(bench: Bench) -> None:
    await bench.ml.fall()
    deadline_s = asyncio.get_running_loop().time() + bench.timeout_s
    while True:
        body = (await bench.http("/api/health")).json
        if isinstance(body, dict) and body.get("status") == "degraded":
            return
        if asyncio.get_running_loop().time() > deadline_s:
            raise Mismatch("status degraded", str(body)[:120])
        await asyncio.sleep(0.05)


@CHECKS.add("H-1.2/livez", "/livez is 200", level="SHOULD")
async def livez(bench: Bench) -> None:
    expect(await bench.http("/livez"), 200)


@CHECKS.add("H-1.2/readyz", "/readyz is 200 while it serves", level="SHOULD")
async def readyz(bench: Bench) -> None:
    expect(await bench.http("/readyz"), 200)


@CHECKS.add("H-1.2/metrics", "/metrics is Prometheus' text format", level="SHOULD")
async def metrics(bench: Bench) -> None:
    response = await bench.http("/metrics")
    expect(response, 200)
    if b"# TYPE " not in response.body:
        raise Mismatch("lines with # TYPE", repr(response.body[:80]))


@CHECKS.add("H-1.3/method", "Methods other than GET get 405 with Allow: GET")
async def method(bench: Bench) -> None:
    for verb in ("POST", "DELETE", "PUT"):
        response = await bench.http("/api/health", [("Content-Length", "0")], method=verb)
        expect(response, 405)
        if "GET" not in response.headers.get("allow", ""):
            raise Mismatch(
                f"Allow: GET with the 405 for {verb}", f"Allow: {response.headers.get('allow')}"
            )


@CHECKS.add("H-1.3/switch", "POST gets 405 and does not switch sensors", needs="control")
async def post_switches_nothing(bench: Bench) -> None:
    async with _controls(bench) as controls:
        headers = [*bench.viewer_headers(), ("Content-Length", "0")]
        response = await bench.http("/api/sensors/start", headers, method="POST")
        if response.status != 405 or controls.calls:
            raise Mismatch(
                "HTTP 405, and no sensor is turned on",
                f"HTTP {response.status}, {len(controls.called('/api/on'))} turned on",
            )


@CHECKS.add("H-1.5/switch", "HEAD does not switch sensors", needs="control")
async def head_switches_nothing(bench: Bench) -> None:
    async with _controls(bench) as controls:
        await bench.http("/api/sensors/start", bench.viewer_headers(), method="HEAD")
        if controls.calls:
            raise Mismatch("no sensor is turned on", f"{len(controls.called('/api/on'))} are")


@CHECKS.add("H-1.5/head", "HEAD is answered as GET is, without a body", level="SHOULD")
async def head(bench: Bench) -> None:
    for page in ("/api/health", "/livez"):
        got = await bench.http(page)
        response = await bench.http(page, method="HEAD")
        if response.status != got.status:
            raise Mismatch(f"HTTP {got.status} for HEAD {page}", f"HTTP {response.status}")


@CHECKS.add("H-1.3/unknown", "Unknown paths are 404")
async def unknown_path(bench: Bench) -> None:
    expect(await bench.http("/api/no-such-path"), 404)


@CHECKS.add("H-1.3/below", "Paths below known ones are 404")
async def below_known_paths(bench: Bench) -> None:
    for path in ("/api/health/x", "/livez/x"):
        expect(await bench.http(path), 404)
    for path in ("/ws/other", "/ws/sensor/x", "/wsx"):
        response = await bench.handshake(path, bench.viewer_headers())
        if response.status != 404:
            raise Mismatch(f"HTTP 404 for {path}", f"HTTP {response.status}")


class Controls:
    """The control addresses of the configured sensors, served by the checker."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str]] = []
        """(sensor's number, path) of every request."""
        self.hanging: set[int] = set()
        self.failing: set[int] = set()

    def called(self, path: str) -> set[int]:
        """Return which sensors got a request for *path*."""
        return {number for number, asked in self.calls if asked == path}

    async def answer(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.calls.append((number, head.split()[1].decode()))
            if number in self.hanging:
                await reader.read(-1)  # until the backend gives up
                return
            status = "500 Internal Server Error" if number in self.failing else "200 OK"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the backend went away
        finally:
            writer.close()


@asynccontextmanager
async def _controls(bench: Bench) -> AsyncIterator[Controls]:
    """Serve every configured control address; begin with all sensors stopped."""
    controls = Controls()
    servers: list[asyncio.Server] = []
    try:
        for number, entry in enumerate(bench.settings.sensors):
            if entry.control:
                host, _, port = entry.control.rpartition(":")

                async def answer(
                    reader: asyncio.StreamReader,
                    writer: asyncio.StreamWriter,
                    number: int = number,
                ) -> None:
                    await controls.answer(number, reader, writer)

                try:
                    servers.append(await asyncio.start_server(answer, host.strip("[]"), int(port)))
                except OSError as error:
                    raise Skip(f"{entry.control} is in use: {error.strerror}") from error
        await bench.http("/api/sensors/stop", bench.viewer_headers())
        controls.calls.clear()
        yield controls
    finally:
        for server in servers:
            server.close()


@CHECKS.add("H-2.1/start", "start turns on the next sensor and names it", needs="control")
async def start(bench: Bench) -> None:
    async with _controls(bench) as controls:
        response = await bench.http("/api/sensors/start", bench.viewer_headers())
        expect(response, 200)
        body = response.json
        named = body.get("sensor") if isinstance(body, dict) else None
        if not isinstance(named, dict) or not {"uuid", "ip", "connected"} <= named.keys():
            raise Mismatch(
                'the answer to start has a "sensor" with uuid, ip, connected',
                repr(response.body[:120]),
            )
        on = controls.called("/api/on")
        if len(on) != 1:
            raise Mismatch("one control address gets GET /api/on", f"{len(on)} did")
        turned_on = bench.settings.sensors[on.pop()].id
        if str(named["uuid"]).lower() != turned_on or named["connected"] is not True:
            raise Mismatch(f"uuid {turned_on}, connected true", f"{str(named)[:120]}")


@CHECKS.add("H-2.1/count", "start?count=2 starts two", needs="control")
async def start_two(bench: Bench) -> None:
    async with _controls(bench) as controls:
        expect(await bench.http("/api/sensors/start?count=2", bench.viewer_headers()), 200)
        if len(controls.called("/api/on")) != 2:
            raise Mismatch(
                "two control addresses get GET /api/on", f"{len(controls.called('/api/on'))} did"
            )


@CHECKS.add(
    "H-2.1/bad-count", "start with a count that is no positive integer is 400", needs="control"
)
async def start_a_bad_count(bench: Bench) -> None:
    async with _controls(bench) as controls:
        for count in ("0", "-1", "x"):
            response = await bench.http(f"/api/sensors/start?count={count}", bench.viewer_headers())
            if response.status != 400 or controls.called("/api/on"):
                raise Mismatch(
                    f"HTTP 400 for count={count}, and no sensor is turned on",
                    f"HTTP {response.status}, {len(controls.called('/api/on'))} turned on",
                )


@CHECKS.add(
    "H-2.1/all-run", "start is 400 with an error when all sensors are running", needs="control"
)
async def start_when_all_run(bench: Bench) -> None:
    async with _controls(bench):
        count = sum(bool(s.control) for s in bench.settings.sensors)
        for _ in range(count):
            await bench.http("/api/sensors/start", bench.viewer_headers())
        await _refused(bench)


@CHECKS.add("H-2.1/fails", "start is 400 with an error when the sensor fails", needs="control")
async def start_that_fails(bench: Bench) -> None:
    async with _controls(bench) as controls:
        controls.failing = set(range(len(bench.settings.sensors)))
        await _refused(bench)


async def _refused(bench: Bench) -> None:
    response = await bench.http("/api/sensors/start", bench.viewer_headers())
    expect(response, 400)
    if not isinstance(response.json, dict) or not isinstance(response.json.get("error"), str):
        raise Mismatch('the answer to start is {"error": "…"}', repr(response.body[:120]))


@CHECKS.add("H-2.2/stop", "stop turns off the running sensors", needs="control")
async def stop(bench: Bench) -> None:
    async with _controls(bench) as controls:
        expect(await bench.http("/api/sensors/start", bench.viewer_headers()), 200)
        expect(await bench.http("/api/sensors/stop", bench.viewer_headers()), 200)
        if not controls.called("/api/on") <= controls.called("/api/off"):
            raise Mismatch("the started sensor is turned off", "it isn't")


@CHECKS.add("H-2.2/idle", "stop is 200 with a message when no sensor is running", needs="control")
async def stop_when_none_runs(bench: Bench) -> None:
    async with _controls(bench):
        response = await bench.http("/api/sensors/stop", bench.viewer_headers())
        expect(response, 200)
        if not isinstance(response.json, dict) or not isinstance(response.json.get("message"), str):
            raise Mismatch('the answer to stop is {"message": "…"}', repr(response.body[:120]))


@CHECKS.add("H-2.3/token", "Only those allowed to view may switch sensors", needs="remote")
async def switching_needs_the_token(bench: Bench) -> None:
    for verb in ("start", "stop"):
        expect(await bench.http(f"/api/sensors/{verb}"), 401)


@CHECKS.add("H-2.2/hanging", "A sensor that hangs does not delay the others", needs="control")
async def stop_with_a_hanging_one(bench: Bench) -> None:
    async with _controls(bench) as controls:
        expect(await bench.http("/api/sensors/start?count=2", bench.viewer_headers()), 200)
        started = sorted(controls.called("/api/on"))
        if len(started) < 2:
            raise Skip("start?count=2 started one only")
        controls.hanging = {started[0]}
        answer, _ = await asyncio.gather(
            bench.http("/api/sensors/stop", bench.viewer_headers(), timeout_s=STOP_MAX_S),
            until(
                lambda: started[1] in controls.called("/api/off"),
                "the other sensor is turned off meanwhile",
                lambda: "it waits",
                bench.timeout_s / 2,
            ),
        )
        expect(answer, 200)
