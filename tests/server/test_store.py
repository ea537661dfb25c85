"""The store on real files: groups, duplicates, recovery, trouble."""

import asyncio
import os
import sqlite3
import stat
import sys
import threading
from contextlib import asynccontextmanager, closing

import pytest

from ctgkit.errors import StoreError
from ctgkit.samples import Sample
from ctgkit.server.numbering import Attendance
from ctgkit.server.store import reader as reader_module
from ctgkit.server.store import schema, sqlite, writer
from ctgkit.server.store.past import PAGE_ROWS
from ctgkit.server.store.reader import open_reader
from ctgkit.server.store.sqlite import open_store
from ctgkit.server.store.writer import QUEUE_MAX_ROWS

SENSORS = {"sensor-a": bytes(32), "sensor-b": bytes(32)}


@asynccontextmanager
async def running(path, durability="normal"):
    """Run a store and its writer; leave when everything is written."""
    async with open_store(path, durability, SENSORS) as store, asyncio.TaskGroup() as tasks:
        tasks.create_task(store.run())
        try:
            yield store
        finally:
            store.stop()


def source(*, examination=1, sensor="sensor-a", stream=None):
    return Attendance(sensor, examination, stream)


def reading(seq, *, sensor="sensor-a", bpm=140.0):
    return Sample(sensor, 0.0 if seq is None else seq * 0.25, bpm, 10.0, None, seq)


class Hears:
    """A connection that hears what became of its samples."""

    patient = False

    def __init__(self):
        self.acks, self.outcomes = asyncio.Queue(), []

    def ack(self, seq):
        self.acks.put_nowait(seq)

    def settle(self, sample, outcome):
        self.outcomes.append((sample.seq, outcome))


def put(store, seq, where=None, **values):
    """Queue a sample that is certainly new; return where it belongs."""
    where = where or source()
    store.add_sample(where, reading(seq, sensor=where.sensor_id, **values))
    return where


async def asked(store, where, *seqs, **values):
    """Queue samples that may be there, in one group; return what became of them."""
    hears = Hears()
    for seq in seqs:
        store.ask(where, reading(seq, sensor=where.sensor_id, **values), hears)
    await store.written()
    return [outcome for _, outcome in hears.outcomes]


def query(path, sql):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


async def test_an_older_database_is_migrated_and_learns_the_digests(tmp_path):
    """Rows stay; a token that isn't configured any more is still known by its digest."""
    path = tmp_path / "ctg.db"
    with closing(sqlite3.connect(path)) as db:
        for sql in schema.MIGRATIONS[0]:
            db.execute(sql)
        db.execute("INSERT INTO sensors (uuid) VALUES ('sensor-a')")
        db.execute("PRAGMA user_version = 1")
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.commit()
    for sensors in (SENSORS, dict.fromkeys(SENSORS)):
        async with open_store(path, "normal", sensors) as store:
            assert store.recovered.token_digests == SENSORS


async def test_rows_are_stored_as_they_came(tmp_path):
    """Value for value, in order; no signal is NULL; the ancestor's columns are there."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "default")
        where = source()
        for seq in range(5):
            put(store, seq, where, bpm=None if seq == 2 else 140.0 + seq)
    columns = "examination_id, sec_from_start, uuid, bpm, uterus, spasms"
    assert query(path, f"SELECT {columns} FROM ctg ORDER BY id") == [
        (1, 0.25 * n, "sensor-a", None if n == 2 else 140.0 + n, 10.0, None) for n in range(5)
    ]


async def test_an_ack_follows_its_commit(tmp_path):
    """When a number is acknowledged, another connection can already read its row."""
    path = tmp_path / "x.db"
    hears, where = Hears(), source()
    async with running(path) as store:
        store.open_examination(1, "default")
        for seq in range(1, 200):
            put(store, seq, where)
            store.acknowledge(hears, seq)
            if seq % 20 == 0:
                through = await hears.acks.get()
                stored = query(path, "SELECT max(seq) FROM ctg")[0][0]
                assert stored >= through


async def test_a_named_streams_number_is_stored_once(tmp_path):
    """In whichever examination; other values under it are a conflict, other streams are not."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        for examination in (1, 2, 3):
            store.open_examination(examination, f"bed {examination}")
        first = source(stream="s")
        assert await asked(store, first, 100, 110, 120) == ["new"] * 3
        store.close_examination(1, interrupted=False)
        later = source(examination=2, stream="s")
        assert await asked(store, later, 105, 110, 105) == ["new", "again", "again"]
        assert await asked(store, later, 110, bpm=99.0) == ["conflict"]
        other = source(examination=2, stream="t")
        assert await asked(store, other, 110, bpm=99.0) == ["new"]
        assert await asked(store, source(sensor="sensor-b", stream="s"), 110) == ["new"]
    async with running(path) as store:
        again = source(examination=3, stream="s")
        assert await asked(store, again, 100, 105, 121) == ["again", "again", "new"]
        assert again.numbers.largest == 121
    assert query(path, "SELECT seq FROM ctg WHERE sensor_id = 1 ORDER BY examination_id, id") == [
        (100,), (110,), (120,), (105,), (110,), (121,),
    ]  # fmt: skip


async def test_without_a_name_the_values_tell_a_restart_from_a_resend(tmp_path):
    """Equal values: sent again. Others: a restart; but not within one connection."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
        assert await asked(store, source(), 0, 1, 2) == ["new"] * 3
        back = source()
        assert await asked(store, back, 1, 2, 3) == ["again", "again", "new"]
        restarted = source()
        assert await asked(store, restarted, 0, 1, bpm=99.0) == ["new", "new"]
        assert await asked(store, restarted, 1, bpm=98.0) == ["conflict"]
        assert await asked(store, source(), 1, bpm=99.0) == ["again"]
    assert query(path, "SELECT count(*) FROM ctg") == [(6,)]


async def test_samples_without_number_are_stored_always(tmp_path):
    """Nobody can tell whether they were sent before."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "default")
        for _ in range(3):
            put(store, None)
    assert query(path, "SELECT count(*) FROM ctg") == [(3,)]


async def test_a_certain_number_that_is_there_after_all_is_not_dropped(tmp_path):
    """The last answer of the database may be lost: equal rows are there, others end the run."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "default")
        where = put(store, 1)
        await store.written()
        put(store, 1, where)
        put(store, 2, where)
    assert query(path, "SELECT seq FROM ctg") == [(1,), (2,)]

    async def write_another():
        async with running(path) as store:
            where = put(store, 7)
            await store.written()
            put(store, 7, where, bpm=99.0)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as ended:
        await write_another()
    (error,) = ended.value.exceptions
    assert isinstance(error, StoreError)
    assert "another program stored number 7" in str(error)


async def test_recovery_tells_what_was_open(tmp_path):
    """A second run learns the open examinations and the last id."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
        store.close_examination(1, interrupted=False)
        store.open_examination(2, "one")
        store.open_examination(3, "two")
        put(store, 5, source(examination=2))
    async with running(path) as store:
        found = store.recovered
    assert found.last_examination_id == 3
    assert [(e[0], e[1]) for e in found.open_examinations] == [(2, "one"), (3, "two")]
    assert all(0 <= e[2] < 60 for e in found.open_examinations)


async def test_an_interrupted_examination_ends_at_its_last_sample(tmp_path):
    """Not when the server noticed."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
        put(store, 1)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE ctg SET created_at = '2020-01-01T00:00:00.000Z'")
    async with running(path) as store:
        store.close_examination(1, interrupted=True)
    assert query(path, "SELECT end_time, status FROM examinations") == [
        ("2020-01-01T00:00:00.000Z", schema.INTERRUPTED)
    ]


async def test_a_locked_database_delays_and_loses_nothing(tmp_path):
    """Samples wait, the state turns to degraded and back, and the order stays."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        hears = Hears()
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN EXCLUSIVE")
            store.open_examination(1, "one")
            put(store, 1)
            store.acknowledge(hears, 1)
            while not store.degraded:
                await asyncio.sleep(0.01)
            put(store, 2)
            store.acknowledge(hears, 2)
            assert hears.acks.empty()
            other.rollback()
        assert await hears.acks.get() == 1
        assert await hears.acks.get() == 2
        assert store.degraded == ""
    assert query(path, "SELECT seq FROM ctg ORDER BY id") == [(1,), (2,)]
    assert store.commit_failures > 0


async def test_the_log_does_not_grow_under_steady_load(tmp_path, monkeypatch):
    """Checkpoints let the writer begin the log anew, though it never pauses."""
    monkeypatch.setattr(writer, "COMMIT_EVERY_S", 0)
    monkeypatch.setattr(writer, "MAINTAIN_EVERY_S", 0.1)
    monkeypatch.setattr(sqlite, "WAL_MAX_PAGES", 40)
    path, commits = tmp_path / "x.db", 0

    def count(_seconds, _rows):
        nonlocal commits
        commits += 1

    async with running(path) as store, asyncio.TaskGroup() as tasks:
        checkpoints = tasks.create_task(store.maintain_forever())
        store.on_commit = count
        store.open_examination(1, "default")
        seq, where = 0, source()
        while commits < 800:
            put(store, seq := seq + 1, where)
            await asyncio.sleep(0.0005)
        log_bytes = (tmp_path / "x.db-wal").stat().st_size
        checkpoints.cancel()
    assert log_bytes < 3_000_000  # never begun anew: some 6 MB


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it would be the process's")
async def test_the_threads_of_a_database_give_way(tmp_path):
    """Writing and checkpoints don't keep a core that they share with the event loop."""
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    async with running(tmp_path / "x.db"):
        threads = [int(name) for name in os.listdir("/proc/self/task")]
        found = {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}
    assert {own, min(19, own + 5)} <= found


async def test_an_error_that_does_not_pass_ends_the_run(tmp_path):
    """A broken database isn't retried for ever: the run ends and says which file and why."""
    path = tmp_path / "x.db"

    async def write_for_ever():
        async with running(path) as store:
            with closing(sqlite3.connect(path)) as other, other:
                other.execute(
                    "CREATE TRIGGER broken BEFORE INSERT ON ctg "
                    "BEGIN SELECT RAISE(ABORT, 'page 7 is malformed'); END"
                )
            store.open_examination(1, "one")
            put(store, 1)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as ended:
        await write_for_ever()
    (error,) = ended.value.exceptions
    assert isinstance(error, StoreError)
    assert "page 7 is malformed" in str(error)


async def test_producers_wait_when_the_queue_is_full(tmp_path):
    """room() blocks at the bound and opens when the writer has caught up."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
        where = source()
        for seq in range(QUEUE_MAX_ROWS):
            put(store, seq, where)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.room(), 0)
        await store.room()
        assert store.depth < QUEUE_MAX_ROWS
    assert store.stored == QUEUE_MAX_ROWS


async def test_recent_samples_come_oldest_first(tmp_path):
    """The last rows of one sensor of one examination, numbered or not."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        hears = Hears()
        store.open_examination(1, "one")
        a, b = source(), source(sensor="sensor-b")
        for seq in range(10):
            put(store, seq, a)
            put(store, seq, b, bpm=None)
        store.acknowledge(hears, 0)
        await hears.acks.get()
        rows = [row async for page in store.recent(1, "sensor-a", 0.5) for row in page]
        assert rows == [(0.25 * n, 140.0, 10.0, None) for n in (7, 8, 9)]


@pytest.mark.parametrize(
    ("numbers", "streams"),
    [
        (range(1000), 1),
        (range(1000), 3),
        ([None] * 1000, 1),
        ([None] * 400 + [*range(600)], 1),
    ],
)
async def test_the_past_is_read_in_pages(tmp_path, numbers, streams):
    """No page is large, each row comes once, and nothing that is stored meanwhile."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
        sources = [source(stream=f"stream {n}" if n else None) for n in range(streams)]
        for n, seq in enumerate(numbers):
            sample = Sample("sensor-a", n / 4, float(n % 99), 10.0, None, seq)
            store.add_sample(sources[n * streams // 1000], sample)
        await store.written()
        seen = []
        async for page in store.recent(1, "sensor-a", 200.0):
            assert len(page) <= PAGE_ROWS
            seen += page
            late = Sample("sensor-a", 249.9, 1.0, 1.0, None, 5_000 + len(seen))
            store.add_sample(sources[-1], late)
            await store.written()
    assert seen == [(n / 4, float(n % 99), 10.0, None) for n in range(199, 1000)]


async def test_only_the_owner_may_read_the_database(tmp_path):
    """It holds what was measured."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def make_foreign(path):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE ctg (x)")


def make_newer(path):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 999")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_foreign, "not a CTGKit database"),
        (make_newer, "newer CTGKit"),
        (lambda path: path.write_bytes(b"not a database, but long enough" * 100), "not a database"),
        (lambda path: path.mkdir(), "is not a file"),
    ],
)
async def test_files_that_are_not_ours_are_left_alone(tmp_path, make, reason):
    """A clear error, and not one byte changed."""
    path = tmp_path / "x.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=reason) as error:
        async with running(path):
            pass
    assert str(path) in str(error.value)
    assert before is None or path.read_bytes() == before


def test_the_reader_refuses_what_is_not_ours(tmp_path):
    """Missing or foreign files are named."""
    with pytest.raises(StoreError, match="no such file"), open_reader(tmp_path / "no.db"):
        pass
    make_foreign(tmp_path / "x.db")
    with pytest.raises(StoreError, match="not a CTGKit database"), open_reader(tmp_path / "x.db"):
        pass


async def test_results_are_bounded_in_bytes(tmp_path):
    """A few large ones fill the queue as many small ones do."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
        for _ in range(15):
            store.add_prediction(1, "sensor-a", 0.0, "ok", "x" * 1024 * 1024)
        assert not store.full
        store.add_prediction(1, "sensor-a", 0.0, "ok", "x" * 1024 * 1024)
        assert store.full
        await store.room()
        assert not store.full


async def test_the_log_shrinks_when_a_long_reader_leaves(tmp_path, monkeypatch):
    """While somebody reads it can only grow; afterwards it does not stay large, even when idle."""
    monkeypatch.setattr(writer, "MAINTAIN_EVERY_S", 0.02)
    monkeypatch.setattr(sqlite, "WAL_MAX_PAGES", 40)
    path, log = tmp_path / "x.db", tmp_path / "x.db-wal"
    async with running(path) as store, asyncio.TaskGroup() as tasks:
        chores = tasks.create_task(store.maintain_forever())
        store.open_examination(1, "one")
        where = put(store, 0)
        await store.written()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM ctg").fetchone()
            seq = 0
            while log.stat().st_size < 2.5 * 40 * 4096:
                for _ in range(500):
                    put(store, seq := seq + 1, where)
                await store.written()
            other.execute("COMMIT")
        while log.stat().st_size > 40 * 4096:
            await asyncio.sleep(0.01)
        chores.cancel()


async def test_counts_are_those_of_the_rows(tmp_path, monkeypatch):
    """Counted in steps, in the middle of a run, or not at all: a reader finds the same."""
    monkeypatch.setattr(sqlite, "COUNT_MAX_ROWS", 7)
    path = tmp_path / "x.db"
    async with running(path) as store:
        for examination, sensor, count in ((1, "sensor-a", 20), (2, "sensor-b", 5)):
            store.open_examination(examination, "one")
            where = source(examination=examination, sensor=sensor)
            for seq in range(count):
                put(store, seq, where, bpm=None if seq % 4 == 0 else 140.0)
            store.add_prediction(examination, sensor, 0.0, "ok", "{}")
        await store.written()
        for step in range(6):
            with open_reader(path) as reader:
                found = [
                    (e["samples"], e["with_signal"], e["sensors"], e["predictions"])
                    for e in reader.examinations()
                ]
                assert found == [(20, 15, 1, 1), (5, 3, 1, 1)]
                (sensor,) = reader.examination(1)["by_sensor"]
                assert (sensor["first_sec"], sensor["last_sec"]) == (0.0, 4.75)
            await store._engine.maintain(step)
    assert query(path, "SELECT * FROM counted") == [(25, 2)]


async def test_a_large_database_that_is_not_counted(tmp_path, monkeypatch):
    """What only reading every row could tell is unknown in the list, and known of one."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
        where = source()
        for seq in range(20):
            put(store, seq, where, bpm=None if seq % 4 == 0 else 140.0)
        store.add_prediction(1, "sensor-a", 0.0, "ok", "{}")
    monkeypatch.setattr(reader_module, "UNCOUNTED_MAX_ROWS", 10)
    with open_reader(path) as reader:
        (listed,) = reader.examinations()
        assert (listed["samples"], listed["with_signal"], listed["sensors"]) == (20, None, 1)
        shown = reader.examination(1)
    assert (shown["samples"], shown["with_signal"], shown["predictions"]) == (20, 15, 1)
