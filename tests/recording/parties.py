"""A live run that can be recorded: three sensors, a drop, an ML outage, malformed frames."""

import asyncio
import contextlib
import json
import sqlite3

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from ctgkit.recording.recorder import RecorderSettings, run_recorder
from ctgkit.wire import SUBPROTOCOL, TOKEN_HEADER
from tests.server.parties import SENSORS, acked, message

STEP_S = 0.02
"""Between two samples of the live run."""
MALFORMED = (
    '{"secFromStart": 1, "data": {"BPMChild": 140, "uterus": 1',  # cut
    '{"secFromStart": 1.5, "data": {"BPMChild": 999, "uterus": 1, "spasms": 0}, "seq": 900}',
    '{"secFromStart": "x", "data": {}}',
    b"\xff\xfe\x00",  # a binary frame that is nothing
    "[]",
)


@contextlib.asynccontextmanager
async def judging_ml(threshold_bpm, port=0):
    """Serve an ML service without memory: a risk above *threshold_bpm*, else none."""

    async def converse(connection):
        async for text in connection:
            request = json.loads(text)
            high = (request["data"]["BPMChild"] or 0) > threshold_bpm
            prediction = {
                "hypoxia_probability": 0.6 if high else 0.1,
                "hypoxia_risk": "high" if high else "low",
                "alerts": [],
                "confidence": 1.0,
                "recommendations": [],
            }
            reply = request | {
                "prediction": prediction,
                "status": "warning" if high else "ok",
                "timestamp": f"{asyncio.get_running_loop().time()}",
            }
            await connection.send(json.dumps(reply))

    async with serve(converse, "127.0.0.1", port) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/ctg"


@contextlib.asynccontextmanager
async def recording(out, *, to, stream=None, **more):
    """Record what passes to *to* (and the viewer stream); yield the proxy's address."""
    stop, addresses = asyncio.Event(), asyncio.Queue()
    settings = RecorderSettings(
        out=out,
        stream_url=stream,
        proxies=((("127.0.0.1", 0), to),),
        on_ready=addresses.put_nowait,
        **more,
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run_recorder(settings, stop))
        yield (await addresses.get()).rstrip("/")
        stop.set()
    assert running.done()


def through(address, number=0, *, v1=True):
    """Connect a sensor through a proxy."""
    entry = SENSORS[number]
    return connect(
        f"{address}/ws/sensor?sensor_id={entry.id}",
        additional_headers={TOKEN_HEADER: entry.token},
        subprotocols=[SUBPROTOCOL] if v1 else None,
        compression=None,
    )


def bpm_of(number, n):
    return 130.0 + 10 * number + (n % 40) / 2


async def play(address, number, first, count, *, drop=False, malformed=False):
    """Be one sensor for *count* samples; with *drop* break the connection at the end."""
    v1 = number < 2
    async with through(address, number, v1=v1) as connection:
        for n in range(first, first + count):
            seq = n + 1 if v1 else None
            await connection.send(message(seq, sec=n / 4, fhr=bpm_of(number, n)))
            if malformed and n - first == count // 2:
                for frame in MALFORMED:
                    await connection.send(frame)
            await asyncio.sleep(STEP_S)
        if v1:
            await acked(connection, first + count)
        if drop:
            await (await connection.ping())
            connection.transport.abort()


async def live_run(address, outage):
    """Play the whole scene; *outage* is awaited in its middle."""

    async def dropped():
        await play(address, 0, 0, 40, drop=True)
        await play(address, 0, 40, 40)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dropped())
        tasks.create_task(play(address, 1, 0, 90, malformed=True))
        tasks.create_task(play(address, 2, 0, 70))
        tasks.create_task(outage())


def rows(path):
    """Return what is stored, but for the times of storing and the examination's number."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT uuid, seq, sec_from_start, bpm, uterus, spasms FROM ctg"
            " ORDER BY uuid, sec_from_start, seq"
        ).fetchall()
