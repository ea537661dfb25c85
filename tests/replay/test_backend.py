"""The backend's role: the recorded stream, to any frontend."""

import asyncio
import json
import math
import time
from urllib.request import urlopen

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ctgkit.recording.format import Line
from ctgkit.recording.journal import viewer_stream
from ctgkit.replay.backend import Stage

RESULTS = [b'{"n": %d}' % n for n in range(40)]


def lines(step_s=0.01):
    yield Line(0.0, "v1", "open", about={})
    for n, frame in enumerate(RESULTS):
        yield Line(n * step_s, "s1", ">", b"not for viewers")
        yield Line(n * step_s, "v1", "<", frame)


async def all_of(viewer):
    got = []
    try:
        while True:
            got.append(await viewer.recv(decode=False))
    except ConnectionClosed:
        return got


async def watched(viewers, speed, stream):
    """Play *stream* to some viewers; return what each got, and how long it took."""
    stage = Stage(speed)
    async with stage.serve("127.0.0.1", 0) as url, asyncio.TaskGroup() as tasks:
        address = url.replace("http", "ws", 1) + "/ws"
        watching = [
            tasks.create_task(all_of(await connect(address, compression=None)))
            for _ in range(viewers)
        ]
        began_s = time.monotonic()
        await stage.play(stream, asyncio.Event())
        took_s = time.monotonic() - began_s
        assert stage.counts.results == len(RESULTS)
        stage_ends = tasks.create_task(asyncio.sleep(0))
        await stage_ends
        for connection in list(stage._viewers):
            await connection.close()
    return [task.result() for task in watching], took_s


@pytest.mark.parametrize("viewers", [1, 3])
async def test_every_viewer_gets_every_result(viewers):
    """Byte for byte and in order, at full speed."""
    got, _ = await watched(viewers, math.inf, viewer_stream(lines()))
    assert got == [RESULTS] * viewers


async def test_intervals_are_kept_and_scaled():
    """Half the speed takes twice the time."""
    _, took_s = await watched(1, 0.5, viewer_stream(lines()))
    assert took_s >= 2 * 0.39


async def test_frontends_find_what_they_look_for():
    """Health is served; pages from elsewhere are refused, as by the backend."""
    stage = Stage(1.0)
    async with stage.serve("127.0.0.1", 0) as url:
        health = json.loads(await asyncio.to_thread(lambda: urlopen(f"{url}/api/health").read()))
        assert health["status"] == "ok"
        page = await asyncio.to_thread(lambda: urlopen(f"{url}/").read())
        assert b"<!doctype html>" in page.lower()
        style = await asyncio.to_thread(lambda: urlopen(f"{url}/page/colours.css").status)
        assert style == 200
        address = url.replace("http", "ws", 1) + "/ws"
        with pytest.raises(InvalidStatus, match="403"):
            await connect(address, origin="http://evil.example")
        await (await connect(address, origin="http://localhost:5173")).close()


def test_several_recorded_viewers_are_one_stream():
    """The first counts, and after it the next that comes."""
    told = [
        Line(0, "v1", "open"), Line(0, "v2", "open"), Line(1, "v1", "<", b"a"),
        Line(1, "v2", "<", b"a"), Line(2, "v1", "close"), Line(2, "v2", "close"),
        Line(3, "v3", "open"), Line(4, "v3", "<", b"b"),
    ]  # fmt: skip
    assert [line.frame for line in viewer_stream(told)] == [b"a", b"b"]
