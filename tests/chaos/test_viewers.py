"""Viewers that read almost nothing, or are gone without a word: closed, counted, and cheap."""

import asyncio
import contextlib
import json
import signal

import pytest

from tests.flow.clients import RawSensor, dial_sensor, sample, watching
from tests.flow.processes import metric, until, until_reports
from tests.flow.test_viewers import stuck_viewer
from tests.fuzz.targets import resident_bytes

GROWTH_MAX_BYTES = 48 << 20
"""What a backend may grow by for ten viewers that don't read."""
HALF_OPEN_MAX_S = 45.0
"""After two missed pings (20 s and 20 s) a silent peer is taken for gone."""


async def test_viewers_that_read_one_byte_a_second(system):
    """Ten of them are closed within seconds; the backend hardly grows, the others see all."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    raw = RawSensor(entry, window=200)
    before = resident_bytes(backend.pid)
    async with watching(backend.url) as good, asyncio.TaskGroup() as tasks:
        with contextlib.ExitStack() as slow:
            crawling = [slow.enter_context(stuck_viewer(backend.url)) for _ in range(10)]
            await until_reports(backend.url, {"viewers": 11}, "all watch")
            playing = tasks.create_task(raw.play(backend.url))

            async def crawl(viewer):
                with contextlib.suppress(OSError):
                    while viewer.recv(1):
                        await asyncio.sleep(1.0)

            crawlers = [tasks.create_task(crawl(viewer)) for viewer in crawling]
            await until_reports(backend.url, {"viewers": 1}, "the slow ones are gone", 20)
            raw.stop.set()
            await playing
            for crawler in crawlers:
                crawler.cancel()
        assert resident_bytes(backend.pid) - before < GROWTH_MAX_BYTES
        assert await metric(backend.url, 'ctgkit_messages_dropped_total{reason="viewer"}') >= 10
        everything = [seq / 4 for seq in range(raw.first, raw.next)]
        await until(lambda: len(good.seen) == len(everything), "the other one has everything")
    assert good.seconds() == everything
    assert backend.err.count("it doesn't keep up") == 10
    assert await backend.stopped() == 0


@pytest.mark.chaos
async def test_a_frozen_watch(system):
    """A stopped process (SIGSTOP) is closed like any slow viewer; awake again, it reconnects."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    watch = system.start("watch", backend.url, "--json")
    await until(lambda: "connected" in watch.err, "it watches")
    raw = RawSensor(entry, window=200)
    async with asyncio.TaskGroup() as tasks:
        watch.send(signal.SIGSTOP)
        playing = tasks.create_task(raw.play(backend.url))
        await until_reports(backend.url, {"viewers": 0}, "it was closed", 20)
        assert await metric(backend.url, 'ctgkit_messages_dropped_total{reason="viewer"}') > 0
        watch.send(signal.SIGCONT)
        await until_reports(backend.url, {"viewers": 1}, "it is back")
        raw.stop.set()
        await playing
    watch.kill()
    assert await backend.stopped() == 0


@pytest.mark.chaos
async def test_peers_that_vanish_without_a_word(system):
    """Half-open sensors and viewers, are closed after two pings that nobody answers."""
    gone, stays = system.configure(2)
    backend = await system.serve().announced()
    async with dial_sensor(backend.url, stays) as good:
        async with dial_sensor(backend.url, gone) as half_open:
            await half_open.send(sample(1))
            await half_open.recv()
            half_open.transport.pause_reading()
            with stuck_viewer(backend.url):
                await until_reports(backend.url, {"sensors": 2, "viewers": 1}, "both are there")
                await until_reports(
                    backend.url, {"sensors": 1, "viewers": 0}, "both are gone", HALF_OPEN_MAX_S
                )
            half_open.transport.abort()
        await good.send(sample(1))
        assert json.loads(await good.recv()) == {"ack": 1}
    assert await backend.stopped() == 0
    assert "Traceback" not in backend.err
