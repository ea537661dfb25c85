"""Viewers: clauses V."""

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ctgkit.check.checks import TIMED, Catalogue, Mismatch, arranging
from ctgkit.check.connection import Line, until
from ctgkit.check.messages import (
    PREDICTION,
    TIMESTAMP,
    excerpt,
    parsed,
    reading,
    result,
    sample,
    shape_problem,
)
from ctgkit.check.ml_service import RECEIVE_BUFFER_BYTES, SEGMENT_BYTES, silence
from ctgkit.check.rig import Bench
from ctgkit.check.watch import is_at
from ctgkit.net.client import dial

CHECKS = Catalogue()
SILENT_S = 2.0
"""After so long without an answer a sample counts as unanswered, seconds."""
FALLBACK_PATIENCE_S = 4.5
EACH_SAMPLES, EACH_S = 30, 4.5
ERROR = json.dumps({"status": "error", "message": "no", "timestamp": TIMESTAMP})
SLOW_RESULTS, SLOW_RESULT_BYTES, SLOW_GROUP = 700, 8192, 25
"""What a viewer that doesn't read is sent: more than twice its queue of 256 and all buffers
between (what is being written is no longer queued), in
groups, so that one that reads keeps up."""


def shown(viewer: Line, sec: float) -> list[str | bytes]:
    """Return what a viewer got about a moment."""
    return [t for t in viewer.received if (seen := reading(t)) and is_at(seen, sec)]


async def gets(viewer: Line, wanted: Callable[[str | bytes], bool], what: str) -> str | bytes:
    """Wait until a viewer gets a certain message."""
    return await until(
        lambda: next(filter(wanted, viewer.received), ""), what, viewer.seen, viewer.timeout_s
    )


async def gets_about(viewer: Line, sec: float) -> list[str | bytes]:
    """Wait until a viewer gets something about a moment."""
    return await until(
        lambda: shown(viewer, sec),
        f"a viewer gets a message about the sample at {sec:g} s",
        viewer.seen,
        viewer.timeout_s,
    )


# Results


async def requests_at(bench: Bench, sec: float) -> list[str]:
    """Wait for the requests about a moment."""
    return await until(
        lambda: bench.ml.requests_at(sec),
        f"a request for {sec:g} s at the ML service",
        lambda: f"{len(bench.ml.requests)} requests, not this",
        bench.timeout_s,
    )


async def asked(bench: Bench, sensor: Line) -> tuple[float, str]:
    """Send a sample that the ML service gets; return its data time and the request."""
    sec = await bench.sends(sensor)
    with arranging("a request"):
        return sec, (await requests_at(bench, sec))[0]


async def gets_answer(bench: Bench, viewer: Line, sec: float) -> None:
    """Wait until a viewer has all that is to come about a moment.

    On a busy machine a sample may be shown without its result, which comes later.
    """
    await until(
        lambda: [t for t in shown(viewer, sec) if "ml" in bench.lacks or not is_fallback(t, sec)],
        f"a viewer gets the result of {sec:g} s",
        viewer.seen,
        SILENT_S + max(viewer.timeout_s, FALLBACK_PATIENCE_S),
    )


def odd(request: str) -> Sequence[str]:
    """Answer with a valid result that a program which rewrites it would change."""
    text = result(request, prediction=PREDICTION, status="warning", note="fœtus \U0001f476")
    return (text.replace('"data": ', '"data" :\n\t').replace("}", " }", 1) + "  ",)


@asynccontextmanager
async def _results(
    bench: Bench, answer: Callable[[str], Sequence[str]]
) -> AsyncIterator[list[str]]:
    """Have the ML service answer, and collect its answers."""
    said: list[str] = []

    def remember(request: str) -> Sequence[str]:
        texts = answer(request)
        said.extend(texts)
        return texts

    bench.ml.answer = remember
    yield said


@CHECKS.add("V-2.1/bytes", "A result reaches a viewer byte for byte", needs="sensor ml")
async def byte_for_byte(bench: Bench) -> None:
    async with _results(bench, odd) as said, bench.viewer() as viewer, bench.sensor() as sensor:
        sec = await bench.sends(sensor)
        await gets(viewer, lambda t: t in said, f"the result of {sec:g} s as the service wrote it")


@CHECKS.add(
    "V-2.1/all", "Every viewer gets every result, in the order of the ML service", needs="sensor ml"
)
async def every_viewer(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        said = await stack.enter_async_context(_results(bench, lambda r: (result(r),)))
        viewers = [await stack.enter_async_context(bench.viewer()) for _ in range(3)]
        sensor = await stack.enter_async_context(bench.sensor())
        secs = [bench.sec() for _ in range(20)]
        await sensor.send(*map(sample, secs))
        for number, viewer in enumerate(viewers, 1):
            await _gets_all(
                viewer, said, len(secs), f"20 results at viewer {number} of 3, in order"
            )


async def _gets_all(viewer: Line, said: list[str], count: int, expected: str) -> None:
    def got() -> list[str]:
        texts = (t if isinstance(t, str) else t.decode(errors="replace") for t in viewer.received)
        return [text for text in texts if text in said]

    await until(
        lambda: len(said) == count and got() == said,
        expected,
        lambda: f"{len(got())} of {len(said)}",
        viewer.timeout_s,
    )


@CHECKS.add(
    "V-2.1/late-joiner",
    "A viewer that joins later gets the results from then on",
    needs="sensor ml",
)
async def late_joiner(bench: Bench) -> None:
    async with bench.viewer() as early, bench.sensor() as sensor:
        first = await bench.sends(sensor)
        await gets_about(early, first)
        async with bench.viewer() as late:
            second = await bench.sends(sensor)
            await gets_about(late, second)


@CHECKS.add("V-2.1/dead", "Viewers that vanish don't stop the others", needs="sensor ml")
async def dead_viewers(bench: Bench) -> None:
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        for _ in range(10):
            async with AsyncExitStack() as stack:
                rude = [await stack.enter_async_context(bench.viewer()) for _ in range(3)]
                await bench.sends(sensor)
                for line in rude[:2]:
                    line.connection.transport.abort()
        sec = await bench.sends(sensor)
        await gets_about(viewer, sec)


@CHECKS.add(
    "V-2.5/own",
    "A viewer that asks for a sensor gets its results",
    needs="sensor ml",
)
async def narrowed(bench: Bench) -> None:
    # It may get others too: a backend MAY narrow. A bed besides takes nothing away.
    own = bench.own_id
    queries = (f"?sensor={own}", f"?sensor={own.upper()}&bed=nobody")
    async with AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(bench.viewer(q)) for q in queries]
        sensor = await stack.enter_async_context(bench.sensor())
        sec = await bench.sends(sensor)
        for viewer in viewers:
            await gets_about(viewer, sec)


# Without an answer


def is_fallback(text: str | bytes, sec: float) -> bool:
    """Return whether a viewer's message shows the sample of a moment without a result."""
    seen = reading(text)
    return bool(seen and is_at(seen, sec) and parsed(text).get("status") == "error")


async def falls_back(viewer: Line, sec: float) -> None:
    """Wait until a viewer gets a sample without a result (V-2.2); how soon is one check's."""
    text = await until(
        lambda: next((t for t in viewer.received if is_fallback(t, sec)), ""),
        f'the sample of {sec:g} s with "prediction": null, "status": "error"',
        viewer.seen,
        SILENT_S + max(viewer.timeout_s, FALLBACK_PATIENCE_S),
    )
    if problem := shape_problem(text, fallback=True):
        raise Mismatch("the shape of a result", f"{problem}: {excerpt(text)}")


@CHECKS.add(
    "V-2.2/silent", "A sample unanswered for 2 s is shown without a prediction", needs="sensor ml"
)
async def unanswered(bench: Bench) -> None:
    bench.ml.answer = silence
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        sec, request = await asked(bench, sensor)
        await falls_back(viewer, sec)
        await bench.ml.say(result(request, note="late"))


@CHECKS.add("V-2.2/late", "A late result is still relayed", needs="sensor ml")
async def late_result(bench: Bench) -> None:
    bench.ml.answer = silence
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        _, request = await asked(bench, sensor)
        await asyncio.sleep(SILENT_S + 0.75)
        await gets_later(bench, viewer, request)


async def gets_later(bench: Bench, viewer: Line, request: str) -> None:
    """Answer a request that waited, and expect that a viewer gets the result."""
    late = result(request, note="late")
    await bench.ml.say(late)
    await gets(viewer, lambda t: parsed(t) == parsed(late), f"the late result {excerpt(late)}")


@CHECKS.add("V-2.2/lost", "A sample lost with the connection is shown", needs="sensor ml")
async def lost(bench: Bench) -> None:
    bench.ml.answer = silence
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        sec, _ = await asked(bench, sensor)
        await bench.ml.drop()
        await falls_back(viewer, sec)


@CHECKS.add("V-2.2/error", "A sample answered with an error is shown", needs="sensor ml")
async def answered_with_an_error(bench: Bench) -> None:
    await no_answer(bench, lambda _: ERROR)


async def no_answer(bench: Bench, answer: Callable[[str], str]) -> None:
    """Have the ML service answer so that the sample is shown without a result."""
    bench.ml.answer = lambda request: (answer(request),)
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        await falls_back(viewer, await bench.sends(sensor))


@CHECKS.add(
    "V-2.2/each",
    "An unanswered sample is shown even while others are answered",
    needs="sensor ml",
    tries=TIMED,
)
async def every_other_answered(bench: Bench) -> None:
    asked: list[str] = []

    def every_other(request: str) -> Sequence[str]:
        asked.append(request)
        return () if len(asked) % 2 else (result(request),)

    bench.ml.answer = every_other
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        secs = []
        for _ in range(EACH_SAMPLES):  # the service is never silent
            secs.append(await bench.sends(sensor))
            await asyncio.sleep(EACH_S / EACH_SAMPLES)
        unanswered = [r.sec for r in map(reading, asked[::2]) if r is not None]
        if not any(is_fallback(t, unanswered[0]) for t in viewer.received):
            raise Mismatch(
                "the first sample without an answer is shown while others get theirs",
                f"it isn't after {EACH_S:g} s",
            )
        for sec in [sec for sec in secs if sec in unanswered]:
            await falls_back(viewer, sec)


@CHECKS.add("V-2.2/down", "While the ML service is down, samples are shown", needs="sensor ml")
async def down(bench: Bench) -> None:
    await bench.ml.fall()
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        for _ in range(2):
            await falls_back(viewer, await bench.sends(sensor))


# A viewer that doesn't read


@asynccontextmanager
async def slow_viewer(
    bench: Bench, results: int = SLOW_RESULTS, result_bytes: int = SLOW_RESULT_BYTES
) -> AsyncIterator[ClientConnection]:
    """Yield a viewer that has stopped reading, after another one has got all results."""
    raw = socket.socket(socket.AF_INET6 if ":" in bench.target.host else socket.AF_INET)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    with suppress(AttributeError, OSError):  # where the system knows it
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (bench.target.host, bench.target.port))
    connection: ClientConnection = await dial(
        bench.target.socket_url + "/ws",
        headers=bench.viewer_headers(),
        close_timeout_s=0.5,
        max_bytes=None,
        pings=False,
        sock=raw,
    )
    connection.transport.pause_reading()
    try:
        async with bench.viewer() as viewer, bench.sensor() as sensor:
            viewer.timeout_s *= 3  # a group is most of a megabyte
            padding = "x" * result_bytes
            bench.ml.answer = lambda request: (result(request, padding=padding),)
            for _ in range(results // SLOW_GROUP):
                secs = [bench.sec() for _ in range(SLOW_GROUP)]
                await sensor.send(*map(sample, secs))
                await gets_about(viewer, secs[-1])
                viewer.received.clear()
            yield connection
    finally:
        connection.transport.abort()


@CHECKS.add(
    "V-2.3/others", "A viewer that does not read costs the others no result", needs="sensor ml"
)
async def beside_a_slow_one(bench: Bench) -> None:
    async with slow_viewer(bench):
        pass


@CHECKS.add("V-2.3/closed", "A viewer that does not read is closed with 1013", needs="sensor ml")
async def slow_one_is_closed(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        with arranging("results for a viewer that reads, beside one that doesn't (V-2.3/others)"):
            slow = await stack.enter_async_context(slow_viewer(bench))
        got = await read_on(bench, slow)
        # A close frame that finds no room can't be sent: then the viewer is cut off, 1006.
        if slow.close_code not in (1013, 1006):
            how = f"closed with {slow.close_code}" if slow.close_code else "open"
            raise Mismatch(
                "the viewer that doesn't read is closed with 1013", f"{how} after {got} results"
            )


async def read_on(bench: Bench, slow: ClientConnection, most: float = math.inf) -> int:
    """Read on with a viewer that paused, while something comes; return how many results came."""
    slow.transport.resume_reading()
    got, loop = 0, asyncio.get_running_loop()
    with suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(3 * bench.timeout_s) as limit:
            while got < most:
                await slow.recv()
                got += 1
                bench.pulse.beat()
                limit.reschedule(loop.time() + 3 * bench.timeout_s)
    return got
