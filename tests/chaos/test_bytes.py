"""Bounds in bytes: large results while nothing can be stored, and viewers who want the past."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import time

import pytest

from benchmarks.flood import suffered
from ctgkit.server.store.writer import QUEUE_MAX_BYTES
from tests.flow.clients import RawSensor
from tests.flow.processes import metric, until, until_reports

GROWTH_MAX_BYTES = 120 << 20
"""While results wait for a locked database: the queue, the group that is being written, what the
link has read, each as bytes and as text. Before: 2 GB in 13 s."""
LOCKED_S = 3.0
HOURS, RATE_HZ, VIEWERS = 4, 4, 100
RSS_MAX_BYTES = 300 << 20


def resident_bytes(pid):
    """Return how much memory a process holds."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


@contextlib.contextmanager
def generous_ml():
    """Run an ML service that answers with 18 MB per sample; yield its URL."""
    command = [sys.executable, "-m", "tests.flow.generous_ml"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield f"ws://127.0.0.1:{int(process.stdout.readline())}/ws/ctg"
        finally:
            process.kill()


@pytest.mark.chaos
async def test_large_results_while_the_database_is_locked(system, record_property):
    """They wait in a bounded queue, then the ML service isn't read; afterwards it goes on."""
    (entry,) = system.configure(1)
    with generous_ml() as ml_url:
        backend = await system.serve(ml=ml_url).announced()
        await until_reports(backend.url, {"ml": "up"}, "it is connected")
        raw = RawSensor(entry, window=20, pause_s=0.02)
        async with asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(raw.play(backend.url))
            await until(lambda: raw.acked > raw.first, "it works")
            before = resident_bytes(backend.pid)
            with contextlib.closing(sqlite3.connect(system.database)) as locker:
                locker.execute("BEGIN IMMEDIATE")
                waiting = 0.0
                while waiting < QUEUE_MAX_BYTES:
                    waiting = await metric(backend.url, 'ctgkit_queue_bytes{name="store"}')
                await asyncio.sleep(LOCKED_S)  # an interval to measure
                grown = resident_bytes(backend.pid) - before
                locker.rollback()
            print(f"grown by {grown >> 20} MB")
            record_property("grown_mb", grown >> 20)
            assert grown < GROWTH_MAX_BYTES
            acked = raw.acked
            await until(lambda: raw.acked > acked + 20, "it goes on", 30)
            raw.stop.set()
            await playing
        assert await backend.stopped() == 0
    assert "Traceback" not in backend.err
    raw.assert_stored(system)


def filled(system, entries):
    """Give the open examination of each sensor four hours of samples."""
    with contextlib.closing(sqlite3.connect(system.database)) as db, db:
        (exam,) = db.execute("SELECT max(id) FROM examinations").fetchone()
        keys = dict(db.execute("SELECT uuid, id FROM sensors"))
        for entry in entries:
            db.executemany(
                "INSERT INTO ctg (examination_id, sec_from_start, uuid, bpm, uterus, spasms,"
                " sensor_id, seq) VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
                (
                    (exam, n / RATE_HZ, entry.id, 120 + n % 40, n % 50, keys[entry.id], n)
                    for n in range(HOURS * 3600 * RATE_HZ)
                ),
            )


@pytest.mark.chaos
async def test_a_hundred_viewers_want_four_hours(system, record_property):
    """Of three sensors: the past comes in pages, memory and acknowledgements stay as they are."""
    entries = system.configure(6)
    backend = await system.serve().announced()
    first = HOURS * 3600 * RATE_HZ
    sources = [RawSensor(entry, first=first, window=4, pause_s=0.25) for entry in entries[:3]]
    largest = 0

    async def look():
        nonlocal largest
        while True:
            largest = max(largest, resident_bytes(backend.pid))
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(raw.play(backend.url)) for raw in sources]
        await until(lambda: all(raw.connects for raw in sources), "all are connected")
        await asyncio.to_thread(filled, system, entries[:3])
        looking = tasks.create_task(look())
        began_s = time.monotonic()
        port = backend.url.rpartition(":")[2]
        thirsty = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.flow.thirsty"),
            *(port, "/ws?backfill=1e9", str(VIEWERS), str(3 * first)),
            stdout=asyncio.subprocess.PIPE,
        )
        acks, healths = await suffered(backend.url, entries[3:], 15.0, 1_000)
        assert await thirsty.stdout.read() == b"all of it\n"
        took_s = time.monotonic() - began_s
        looking.cancel()
        for raw in sources:
            raw.stop.set()
        await asyncio.wait(playing)
    p99_ms = acks[int(0.99 * len(acks))]
    print(f"{VIEWERS} viewers, {took_s:.0f} s: {largest >> 20} MB, acks p99 {p99_ms:.0f} ms")
    record_property("rss_mb", largest >> 20)
    record_property("ack_p99_ms", round(p99_ms))
    record_property("slowest_health_ms", round(healths[-1]))
    assert largest < RSS_MAX_BYTES
    assert await backend.stopped() == 0
    assert "Traceback" not in backend.err
