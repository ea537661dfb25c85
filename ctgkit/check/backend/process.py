"""The backend's process starts, stops, and dies: clauses C, S-5.4, S-6.6. All need ``--run``."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from ctgkit.check.backend.acks import acked, acks, errors, must_be_once, send_numbered
from ctgkit.check.backend.ml import comes_back, dials
from ctgkit.check.backend.takeover import end_of, must_be_open, must_end, stored_in
from ctgkit.check.checks import Catalogue, Mismatch, Skip, arranging
from ctgkit.check.messages import parsed
from ctgkit.check.rig import Bench

CHECKS = Catalogue()
TRICKLE_S = 0.007
EXIT_MAX_S = 10.0
"""How long a backend may take to stop, or to see that it can't start, seconds."""


@CHECKS.add(
    "C-1.3/port", "A second backend on the same port exits with a code other than 0", needs="run"
)
async def port_taken(bench: Bench) -> None:
    code = await bench.process.second(EXIT_MAX_S)
    if code is None:
        raise Mismatch(
            f"exit code not 0 within {EXIT_MAX_S:g} s, the port is taken",
            f"it runs on; its last words: {bench.process.excerpt()}",
        )
    if code == 0:
        raise Mismatch(
            "exit code not 0, the port is taken",
            f"exit code 0; its last words: {bench.process.excerpt()}",
        )
    if not await bench.alive():
        raise Mismatch("the first backend serves on", "nothing listens there any more")


@asynccontextmanager
async def _restarted_after(bench: Bench) -> AsyncIterator[None]:
    """Make sure that the backend runs again in the end."""
    try:
        yield
    finally:
        await _dies(bench)
        await bench.process.start()


async def _dies(bench: Bench) -> None:
    """Kill the backend; who keeps looking after it leaves before."""
    await bench.canary.leave()
    await bench.process.kill()


async def _starts(bench: Bench, after: str = "after kill -9") -> None:
    if not await bench.process.start():
        raise Mismatch(f"it starts {after}", bench.process.excerpt())


async def _stop(bench: Bench) -> None:
    bench.process.signal(signal.SIGTERM)
    code = await bench.process.ended(EXIT_MAX_S)
    if code != 0:
        how = "it runs on" if code is None else f"exit code {code}"
        raise Mismatch(f"exit code 0 within {EXIT_MAX_S:g} s of SIGTERM", how)


@CHECKS.add("C-1.2/exit", "After SIGTERM it exits with code 0 within 10 s", needs="run")
async def stops(bench: Bench) -> None:
    async with _restarted_after(bench):
        await _stop(bench)


@CHECKS.add(
    "C-1.2/peers",
    "It exits within 10 s of SIGTERM whatever its peers do",
    needs="run sensor",
)
async def stops_despite_peers(bench: Bench) -> None:
    """Leave a half request, a kept connection, and a viewer and a sensor that don't read."""
    with arranging("it stops on SIGTERM (C-1.2/exit)"):
        async with _restarted_after(bench):
            await _stop(bench)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_restarted_after(bench))
        for line in (bench.sensor(), bench.viewer()):
            (await stack.enter_async_context(line)).connection.transport.pause_reading()
        for text in ("GET / HTTP/1.1\r\nHost: ", "", _kept(bench)):
            _, writer = await bench.target.open()
            stack.push_async_callback(_drop, writer)
            writer.write(text.encode())
        await _stop(bench)


async def _drop(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    await asyncio.sleep(0)


def _kept(bench: Bench) -> str:
    return f"GET /api/health HTTP/1.1\r\nHost: {bench.target.authority}\r\n\r\n"


@CHECKS.add(
    "S-5.5/second",
    "Starting a second backend leaves the first one's examination open",
    needs="run sensor store",
)
async def second_start(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        examination = await stored_in(bench, sensor)
        await bench.process.second(EXIT_MAX_S)
        must_be_open(bench, examination)


@CHECKS.add(
    "M-1.1/later",
    "A backend started before its ML service keeps trying to connect",
    needs="run ml",
)
async def service_comes_later(bench: Bench) -> None:
    bench.ml.up = False
    try:
        async with _restarted_after(bench):
            await _dies(bench)
            await _starts(bench, "without its ML service")
            await dials(bench, bench.settings.patience_s)
            bench.ml.up = True
            await comes_back(bench, bench.settings.patience_s)
    finally:
        bench.ml.up = True


@CHECKS.add(
    "C-1.1/closed", "A backend that stops closes its connections with 1001", needs="run sensor"
)
async def closes_with_1001(bench: Bench) -> None:
    async with _restarted_after(bench), bench.sensor() as sensor, bench.viewer() as viewer:
        await sensor.settle()
        await viewer.settle()
        bench.process.signal(signal.SIGTERM)
        await sensor.closed(1001)
        await viewer.closed(1001)


@CHECKS.add(
    "C-1.1/stored", "A backend that stops has stored everything it read", needs="run sensor store"
)
async def stores_what_it_read(bench: Bench) -> None:
    async with _restarted_after(bench), bench.sensor() as sensor:
        samples = [bench.fresh() for _ in range(20)]
        for _, text in samples:  # some are on their way to the database when it is told to stop
            await sensor.send(text)
            await asyncio.sleep(TRICKLE_S)
        await sensor.settle()  # it has read them
        bench.process.signal(signal.SIGTERM)
        await bench.process.ended(EXIT_MAX_S)
        if lost := [sec for sec, _ in samples if bench.examination_of(sec) is None]:
            raise Mismatch("20 samples stored", f"{len(lost)} of them are not")


@CHECKS.add(
    "C-1.1/examination", "A backend that stops ends its examinations", needs="run sensor store"
)
async def ends_examinations(bench: Bench) -> None:
    if bench.settings.grace_s:
        raise Skip("with a grace period an examination may outlive a restart")
    async with _restarted_after(bench), bench.sensor() as sensor:
        examination = await stored_in(bench, sensor)
        bench.process.signal(signal.SIGTERM)
        await bench.process.ended(EXIT_MAX_S)
        if end_of(bench, examination) is None:
            raise Mismatch(f"examination {examination} has an end_time", "it has none")


@CHECKS.add(
    "S-5.4/crash",
    "After kill -9 an open examination is resumed by its sensor, or closed",
    needs="run sensor store",
)
async def crash(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        examination = await stored_in(bench, sensor)
        await _dies(bench)
    with arranging("the backend starts again after kill -9"):
        await _starts(bench)
    async with bench.sensor() as sensor:
        later = await stored_in(bench, sensor)
        if later != examination:
            await must_end(bench, examination, f", as {later} has begun", "both are open")
        else:
            must_be_open(bench, examination, "it was resumed")


@CHECKS.add(
    "S-5.4/alone",
    "After kill -9 an examination is closed if its sensors stay away",
    needs="run sensor store",
)
async def interrupted(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        examination = await stored_in(bench, sensor)
        await _dies(bench)
    with arranging("the backend starts again after kill -9"):
        await _starts(bench)
    await must_end(bench, examination)


@CHECKS.add("S-5.4/starts", "After kill -9 it starts and serves again", needs="run sensor")
async def starts_again(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        await sensor.send(*(bench.fresh()[1] for _ in range(50)))
        await _dies(bench)
    await _starts(bench)


@CHECKS.add("S-6.6/killed", "Acknowledged samples are stored after kill -9", needs="run v1 store")
async def acknowledged_survives(bench: Bench) -> None:
    await bench.canary.leave()
    async with bench.sensor(v1=True) as sensor:
        sent = []
        for _ in range(2):  # the first after a pause may be committed at once
            more = await send_numbered(bench, sensor, 25)
            await acked(sensor, more[0][0])
            sent += more
        await bench.process.kill()
        known, bad = max(acks(sensor)), {e.get("seq") for e in errors(sensor)}
    with arranging("the backend starts again after kill -9"):
        await _starts(bench)
    owed = [parsed(text)["secFromStart"] for seq, text in sent if seq <= known and seq not in bad]
    if lost := [sec for sec in owed if bench.examination_of(sec) is None]:
        raise Mismatch(f"{len(owed)} acknowledged samples stored", f"{len(lost)} of them are not")


@CHECKS.add(
    "S-6.6/resent",
    "After kill -9 everything can be resent and is stored once",
    needs="run v1 store",
)
async def resent_after_a_crash(bench: Bench) -> None:
    after = bench.db.last_row()
    async with bench.sensor(v1=True) as sensor:
        sent = await send_numbered(bench, sensor, 50)
        await acked(sensor, sent[0][0])
        await _dies(bench)
    with arranging("the backend starts again after kill -9"):
        await _starts(bench)
    async with bench.sensor(v1=True) as sensor:
        await sensor.send(*(text for _, text in sent))  # it has lost the acknowledgements too
        last = await send_numbered(bench, sensor, 1)
        await acked(sensor, last[0][0])
    await must_be_once(bench, after, (text for _, text in sent))
