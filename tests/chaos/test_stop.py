"""SIGTERM under load: everybody is told, everything acknowledged is written."""

import asyncio
import signal
import socket

from tests.flow.clients import RawSensor, watching
from tests.flow.processes import until, until_reports
from tests.flow.test_viewers import stuck_viewer

CLOSED = 1


async def test_stopped_under_load(system):
    """Exit code 0, sensors and viewers get 1001, the examination is closed."""
    entries = system.configure(3)
    ml = await system.start("ml", "--port", 0).announced()
    backend = await system.serve(ml=ml.url).announced()
    raw = [RawSensor(entry, window=200) for entry in entries]
    async with watching(backend.url) as viewer, asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(one.play(backend.url)) for one in raw]
        await until(lambda: all(one.acked > one.first + 100 for one in raw), "a load")
        assert await backend.stopped() == 0
        await until(lambda: all(one.close_codes for one in raw), "the sensors were told")
        await until(lambda: viewer.close_codes, "the viewer was told")
        for task in playing:
            task.cancel()
    assert [one.close_codes[0] for one in raw] == [1001] * 3
    assert viewer.close_codes == [1001]
    assert "Traceback" not in backend.err
    for one in raw:
        one.assert_stored(system)
    system.assert_sound()
    assert system.query("SELECT status FROM examinations") == [(CLOSED,)]
    assert not list(system.directory.glob("ctg.db-*"))  # nothing is left in the log
    assert await ml.stopped() == 0


async def test_a_second_signal_ends_it_at_once(system):
    """Also while it waits for a peer that doesn't answer."""
    system.configure(1)
    backend = await system.serve().announced()
    host, _, port = backend.url.removeprefix("http://").partition(":")

    def refuses():
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) != 0

    with stuck_viewer(backend.url):
        await until_reports(backend.url, {"viewers": 1}, "somebody who won't answer")
        backend.send(signal.SIGINT)
        await until(refuses, "it accepts nobody")
        assert backend.running
        backend.send(signal.SIGTERM)
        assert await backend.ended(1.0) == -signal.SIGTERM


async def test_peers_that_do_not_answer_hold_it_up_for_seconds_only(system):
    """One signal is enough."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    raw = RawSensor(entry)
    with stuck_viewer(backend.url):
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(raw.play(backend.url))
            await until(lambda: raw.acked > raw.first + 50, "a load")
            assert await backend.stopped(8) == 0
            playing.cancel()
    raw.assert_stored(system)
