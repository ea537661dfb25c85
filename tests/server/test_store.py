"""The store on real files: groups, duplicates, recovery, trouble."""

import asyncio
import sqlite3
import stat
from contextlib import asynccontextmanager, closing

import pytest

from ctgkit.errors import StoreError
from ctgkit.server.store import schema, sqlite
from ctgkit.server.store.reader import PAGE_ROWS, open_reader
from ctgkit.server.store.sqlite import QUEUE_MAX_ROWS, open_store

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


def row(store, seq, *, examination=1, sensor="sensor-a", bpm=140.0):
    key = store.recovered.sensor_keys[sensor]
    sec = 0.0 if seq is None else seq * 0.25
    return (examination, key, seq, sec, sensor, bpm, 10.0, None)


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
            assert store.recovered.sensor_keys["sensor-a"] == 1
            assert store.recovered.token_digests == SENSORS


async def test_rows_are_stored_as_they_came(tmp_path):
    """Value for value, in order; no signal is NULL; the ancestor's columns are there."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "default")
        for seq in range(5):
            store.add_sample(row(store, seq, bpm=None if seq == 2 else 140.0 + seq))
    columns = "examination_id, sec_from_start, uuid, bpm, uterus, spasms"
    assert query(path, f"SELECT {columns} FROM ctg ORDER BY id") == [
        (1, 0.25 * n, "sensor-a", None if n == 2 else 140.0 + n, 10.0, None) for n in range(5)
    ]


async def test_an_ack_follows_its_commit(tmp_path):
    """When a number is acknowledged, another connection can already read its row."""
    path = tmp_path / "x.db"
    acked = asyncio.Queue()
    async with running(path) as store:
        store.open_examination(1, "default")
        for seq in range(1, 200):
            store.add_sample(row(store, seq))
            store.acknowledge(acked.put_nowait, seq)
            if seq % 20 == 0:
                through = await acked.get()
                stored = query(path, "SELECT max(seq) FROM ctg")[0][0]
                assert stored >= through


async def test_duplicates_are_dropped_and_counted(tmp_path):
    """The same number of a sensor in an examination is stored once; without number, always."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "default")
        for seq in (1, 2, 2, 3, 1):
            store.add_sample(row(store, seq))
        store.add_sample(row(store, 1, sensor="sensor-b"))
        store.add_sample(row(store, 1, examination=2))
        for _ in range(3):
            store.add_sample(row(store, None))
    assert (store.stored, store.duplicates) == (8, 2)
    assert query(path, "SELECT count(*) FROM ctg") == [(8,)]


async def test_recovery_tells_what_was_open_and_how_far_streams_got(tmp_path):
    """A second run learns the open examinations, the last id, and each sensor's last number."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
        store.close_examination(1, interrupted=False)
        store.open_examination(2, "one")
        store.open_examination(3, "two")
        for seq in (5, 6, 7):
            store.add_sample(row(store, seq, examination=2))
        store.add_sample(row(store, None, examination=3, sensor="sensor-b"))
    async with running(path) as store:
        found = store.recovered
    assert found.last_examination_id == 3
    assert [(e[0], e[1]) for e in found.open_examinations] == [(2, "one"), (3, "two")]
    assert all(0 <= e[2] < 60 for e in found.open_examinations)
    assert found.tails == {"sensor-a": (2, 7, 4)}


async def test_an_interrupted_examination_ends_at_its_last_sample(tmp_path):
    """Not when the server noticed."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        store.open_examination(1, "one")
        store.add_sample(row(store, 1))
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
        acked = asyncio.Queue()
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN EXCLUSIVE")
            store.open_examination(1, "one")
            store.add_sample(row(store, 1))
            store.acknowledge(acked.put_nowait, 1)
            while not store.degraded:
                await asyncio.sleep(0.01)
            store.add_sample(row(store, 2))
            store.acknowledge(acked.put_nowait, 2)
            assert acked.empty()
            other.rollback()
        assert await acked.get() == 1
        assert await acked.get() == 2
        assert store.degraded == ""
    assert query(path, "SELECT seq FROM ctg ORDER BY id") == [(1,), (2,)]
    assert store.commit_failures > 0


async def test_the_log_does_not_grow_under_steady_load(tmp_path, monkeypatch):
    """Checkpoints let the writer begin the log anew, though it never pauses."""
    monkeypatch.setattr(sqlite, "COMMIT_EVERY_S", 0)
    monkeypatch.setattr(sqlite, "CHECKPOINT_EVERY_S", 0.1)
    monkeypatch.setattr(sqlite, "WAL_MAX_PAGES", 40)
    path, commits = tmp_path / "x.db", 0

    def count(_seconds, _rows):
        nonlocal commits
        commits += 1

    async with running(path) as store, asyncio.TaskGroup() as tasks:
        checkpoints = tasks.create_task(store.checkpoint_forever())
        store.on_commit = count
        store.open_examination(1, "default")
        seq = 0
        while commits < 800:
            store.add_sample(row(store, seq := seq + 1))
            await asyncio.sleep(0)
        log_bytes = (tmp_path / "x.db-wal").stat().st_size
        checkpoints.cancel()
    assert log_bytes < 3_000_000  # never begun anew: some 6 MB


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
            store.add_sample(row(store, 1))
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
        for seq in range(QUEUE_MAX_ROWS):
            store.add_sample(row(store, seq))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.room(), 0)
        await store.room()
        assert store.depth < QUEUE_MAX_ROWS
    assert store.stored == QUEUE_MAX_ROWS


async def test_recent_samples_come_oldest_first(tmp_path):
    """The last rows of one sensor of one examination, numbered or not."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        acked = asyncio.Queue()
        store.open_examination(1, "one")
        for seq in range(10):
            store.add_sample(row(store, seq))
            store.add_sample(row(store, seq, sensor="sensor-b", bpm=None))
        store.acknowledge(acked.put_nowait, 0)
        await acked.get()
        key = store.recovered.sensor_keys["sensor-a"]
        rows = [row async for page in store.recent(1, key, 0.5) for row in page]
        assert rows == [(0.25 * n, 140.0, 10.0, None) for n in (7, 8, 9)]


@pytest.mark.parametrize("numbers", [range(1000), [None] * 1000, [None] * 400 + [*range(600)]])
async def test_the_past_is_read_in_pages(tmp_path, numbers):
    """No page is large, each row comes once, and nothing that is stored meanwhile."""
    path = tmp_path / "x.db"
    async with running(path) as store:
        key = store.recovered.sensor_keys["sensor-a"]
        store.open_examination(1, "one")
        for n, seq in enumerate(numbers):
            store.add_sample((1, key, seq, n / 4, "sensor-a", float(n % 99), 10.0, None))
        await store.written()
        seen = []
        async for page in store.recent(1, key, 200.0):
            assert len(page) <= PAGE_ROWS
            seen += page
            store.add_sample((1, key, 5_000 + len(seen), 249.9, "sensor-a", 1.0, 1.0, None))
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
        (make_foreign, "not one of CTGKit's"),
        (make_newer, "newer CTGKit"),
        (lambda path: path.write_bytes(b"not a database, but long enough" * 100), "not a database"),
        (lambda path: path.mkdir(), "unable to open"),
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
    with pytest.raises(StoreError, match="not a database of"), open_reader(tmp_path / "x.db"):
        pass
