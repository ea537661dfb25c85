"""Packed examinations: every reader tells the same as before, and a crash loses nothing."""

import asyncio
import json
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing

import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.errors import StoreError
from ctgkit.recording import read_recordings
from ctgkit.server.numbering import Attendance
from ctgkit.server.store import archive, packing, reader, removal, writer
from ctgkit.server.store.archive import SqliteArchive
from ctgkit.server.store.copying import sum_of
from ctgkit.server.store.reader import open_reader
from ctgkit.server.store.sqlite import open_store
from ctgkit.server.store.sqlite_side import open_side, pack_file
from tests.server.test_store import SENSORS, asked, put, query, running

A, B = SENSORS
ROWS = 130


def body_of(sensor, sec, risk):
    """Return a result as a service writes it."""
    said = {
        "sensorID": sensor, "secFromStart": sec, "status": "ok", "prediction": {"risk": risk},
        "data": {"BPMChild": 140.0, "uterus": 10.0, "spasms": None}, "timestamp": "2026",
    }  # fmt: skip
    return json.dumps(said | ({"events": [{"type": "acceleration", "at": sec}]} if risk else {}))


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """A database with two examinations that are over and one that is open; blocks are small."""
    monkeypatch.setattr(packing, "BLOCK_ROWS", 32)
    monkeypatch.setattr(packing, "RESULTS_MAX_CHARS", 2_000)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "plain.db"
    asyncio.run(fill(path))
    return path


async def fill(path):
    async with running(path) as store:
        for number in (1, 2, 3):
            store.open_examination(number, "bed")
        for number in (1, 2, 3):
            sources = [Attendance(A, number, f"a{number}"), Attendance(B, number)]
            for seq in range(ROWS):
                for source in sources:
                    bpm = None if seq % 9 == 4 else 140.0 + seq / 4
                    put(store, None if source.sensor_id == B and seq < 40 else seq, source, bpm=bpm)
            await store.written()
            again = Attendance(A, number, f"again{number}")  # it began to number anew
            for seq in range(20):
                put(store, seq, again)
            for sec in range(0, 30, 3):
                for sensor in SENSORS:
                    repeated = struct.pack("<2d", sec + 0.25, sec + 0.5) if sec % 2 else None
                    body = body_of(sensor, float(sec), sec % 5)
                    store.add_prediction(number, sensor, float(sec), "ok", body, repeated)
            await store.written()
        for number in (1, 2):
            store.close_examination(number, interrupted=number == 2)


@pytest.fixture
def packed(plain, tmp_path):
    """The same, packed."""
    path = tmp_path / "packed.db"
    shutil.copy(plain, path)
    pack_file(path, lambda amount: None)
    return path


def ctgkit(*arguments):
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    return done.exit_code, done.stdout, done.stderr + str(done.exception or "")


async def pages_of(path):
    """Return what the live page reads: pages of the past, sensors, marks."""
    found = []
    one = SqliteArchive(path)
    try:
        for number in (1, 2, 3, 4):
            found.append(await one.sensors_of(number))
            for sensor in (A, B, "nobody"):
                page = await one.page(number, sensor, 1.0, None, 25)
                while page is not None:
                    found.append((page.bins.tolist(), repr(page.values.tolist())))
                    earlier = page.earlier
                    page = earlier and await one.page(number, sensor, 1.0, earlier, 25)
            bodies, before = await one.bodies_with_events(number, None)
            while before is not None:
                more, before = await one.bodies_with_events(number, before)
                bodies += more
            found.append(bodies)
        found.append(await one.examinations("bed", None))
    finally:
        await one.close()
    return found


def parts_of(path):
    """Return what the REST paths page through."""
    with open_reader(path) as found:
        for number in (1, 2, 3):
            for sensor in ("", A, B, "nobody"):
                after = 0
                while after is not None:
                    page, after = found.page(number, sensor, after, 17)
                    yield page


def shown(one):
    """Return a recording as what can be compared."""
    columns = (one.sec_from_start, one.fhr_bpm, one.uterus, one.spasms)
    return one.sensor_id, one.started, one.comments, *(repr(c.tolist()) for c in columns)


async def all_that_is_read(path):
    """Return what every reader says of a database."""
    said = {
        "list": ctgkit("exam", "list", "--json", "--store", f"sqlite:///{path}"),
        "inspect": ctgkit("inspect", path, "--json")[1].replace(path.name, ""),
        "parts": list(parts_of(path)),
        "page": await pages_of(path),
        "recordings": [shown(one) for one in read_recordings(path)],
    }
    for number in (1, 2, 3):
        for arguments in (("show", number, "--json"), ("export", number),
                          ("export", number, "--format", "json")):  # fmt: skip
            said[arguments] = ctgkit("exam", *arguments, "--store", f"sqlite:///{path}")
        folder = path.with_suffix(f".{number}")
        folder.mkdir(exist_ok=True)
        out = ("--out", folder / "x.npz", "--force")
        assert ctgkit("exam", "export", number, *out, "--store", f"sqlite:///{path}")[0] == 0
        said["npz", number] = [
            (file.name, *shown(one))
            for file in sorted(folder.iterdir())
            for one in read_recordings(file)
        ]
    with open_side(path, fill=False) as side:
        said["count"] = side.count()
        said["sums"] = [sum_of(side, one) for one in side.examinations()]
    return said


def demand_equal(left, right):
    for name in left:
        assert left[name] == right[name], name
        if name not in ("inspect", "count"):
            assert left[name]


async def test_every_reader_says_the_same(plain, packed):
    """What is packed is a row for none of them; the tables say where it is."""
    left = query(packed, "SELECT examination_id, count(*) FROM ctg GROUP BY 1")
    assert left == [(3, 2 * ROWS + 20)]
    assert query(packed, "SELECT count(*) FROM predictions WHERE examination_id < 3") == [(0,)]
    counts = query(packed, "SELECT packed FROM examinations ORDER BY id")
    assert counts == [(2 * ROWS + 20,), (2 * ROWS + 20,), (0,)]
    demand_equal(await all_that_is_read(plain), await all_that_is_read(packed))


async def test_lists_are_right_where_much_is_uncounted(plain, packed, monkeypatch):
    """Numbers that would take long come from elsewhere."""
    monkeypatch.setattr(reader, "UNCOUNTED_MAX_ROWS", -1)
    for command in (("list",), ("show", 1)):
        left, right = (
            ctgkit("exam", *command, "--json", "--store", f"sqlite:///{path}")[1]
            for path in (plain, packed)
        )
        for one, other in zip(left.splitlines(), right.splitlines(), strict=True):
            for name in ("samples", "sensors", "predictions"):
                assert json.loads(one)[name] == json.loads(other)[name], (command, name)


async def test_what_was_unpacked_gives_way(packed, plain, monkeypatch):
    """The page's temporary rows are bounded, and nothing changes by that."""
    monkeypatch.setattr(archive, "UNPACKED_MAX_ROWS", 1)
    assert await pages_of(packed) == await pages_of(plain)


async def test_a_copy_has_rows_again(plain, packed, tmp_path):
    copy = tmp_path / "copy.db"
    assert ctgkit("store", "copy", f"sqlite:///{packed}", f"sqlite:///{copy}")[0] == 0
    assert ctgkit("store", "check", f"sqlite:///{plain}", f"sqlite:///{copy}")[0] == 0
    assert query(copy, "SELECT count(*) FROM ctg") == query(plain, "SELECT count(*) FROM ctg")
    assert query(copy, "SELECT count(*) FROM packed") == [(0,)]


@pytest.mark.parametrize("stream", ["a1", None])
async def test_numbers_are_known(packed, stream):
    """S-6.5 holds: what is stored in a block is stored."""
    where = Attendance(A if stream else B, 3, stream)
    async with running(packed) as store:
        assert await asked(store, where, 41, 42, bpm=140.0 + 41 / 4) == [
            "again", "conflict" if stream else "new",
        ]  # fmt: skip


async def test_what_comes_late_is_read_and_packed(packed, plain):
    """Rows of a packed examination: among the others, then in a block of their own."""
    for path in (plain, packed):
        async with running(path) as store:
            put(store, 500, Attendance(A, 1, "late"))
            store.add_prediction(1, B, 125.0, "ok", body_of(B, 125.0, 3))
            put(store, 500, Attendance(A, 3, "a3"))
        with closing(sqlite3.connect(path)) as db, db:
            for table in ("ctg", "predictions"):
                db.execute(f"UPDATE {table} SET created_at = '2026' WHERE sec_from_start = 125")
    expected = await all_that_is_read(plain)
    demand_equal(expected, await all_that_is_read(packed))
    pack_file(packed, lambda amount: None)
    demand_equal(expected, await all_that_is_read(packed))
    assert query(packed, "SELECT packed FROM examinations WHERE id = 1") == [(2 * ROWS + 21,)]


async def test_new_rows_have_new_ids(plain):
    """Though the rows before them are gone: the newest one stays."""
    with closing(sqlite3.connect(plain)) as db, db:
        db.execute("UPDATE examinations SET end_time = start_time, status = 1")
    last = query(plain, "SELECT max(id) FROM ctg")
    pack_file(plain, lambda amount: None)
    assert query(plain, "SELECT max(id), count(*) FROM ctg") == [(*last[0], 1)]
    async with running(plain) as store:
        store.open_examination(4, "bed")
        put(store, 0, Attendance(A, 4, "a4"))
    assert query(plain, "SELECT max(id) FROM ctg") == [(last[0][0] + 1,)]


_KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from ctgkit.server.store import packing, sqlite_side
packing.BLOCK_ROWS = 32
calls = itertools.count()
def die_at_last():
    if next(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
class Mortal(packing.Packer):
    def step(self, db):
        db.set_progress_handler(die_at_last, 50)
        return super().step(db)
sqlite_side.Packer = Mortal
sqlite_side.pack_file(Path(sys.argv[1]), lambda amount: None)
"""


@pytest.mark.parametrize("steps", [30, 200])
async def test_kill_9_loses_nothing(plain, tmp_path, steps):
    """Wherever it happens; the next one goes on."""
    path = tmp_path / "killed.db"
    shutil.copy(plain, path)
    expected = await all_that_is_read(plain)
    died = await asyncio.create_subprocess_exec(sys.executable, "-c", _KILLED, path, str(steps))
    assert await asyncio.wait_for(died.wait(), 100) == -9
    demand_equal(expected, await all_that_is_read(path))
    pack_file(path, lambda amount: None)
    demand_equal(expected, await all_that_is_read(path))


COMMANDS = [
    ("exam", "export", 1, "--store", "sqlite:///packed.db"),
    ("exam", "export", 1, "--format", "json", "--store", "sqlite:///packed.db"),
    ("convert", "packed.db", "--exam", 1, "x.csv"),
    ("store", "copy", "sqlite:///packed.db", "sqlite:///new.db"),
]


@pytest.mark.parametrize(
    "damage", ["substr(block, 1, 40)", "'text'", "CAST(block || x'00' AS BLOB)"]
)
def test_a_damaged_block_is_one_line(packed, damage):
    """It says which, with exit code 4."""
    with closing(sqlite3.connect(packed)) as db, db:
        db.execute(f"UPDATE packed SET block = {damage}")
    for command in COMMANDS:
        assert "packed.db: block 1: a packed block is" in ctgkit(*command)[2]
    command = [sys.executable, "-m", "ctgkit", *map(str, COMMANDS[0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1


async def test_a_damaged_block_stops_nobody_else(packed):
    """The page and the writer say so too."""
    with closing(sqlite3.connect(packed)) as db, db:
        db.execute("UPDATE packed SET block = substr(block, 1, 40)")
    one = SqliteArchive(packed)
    with pytest.raises(StoreError, match="block 1"):
        await one.page(1, A, 1.0, None)
    with pytest.raises(StoreError, match="a packed block"):
        await one.bodies_with_events(1, None)
    await one.close()


def test_what_is_removed_takes_its_blocks_along(packed):
    with removal.open_remover(packed) as remover:
        assert remover.remove(1)
    assert query(packed, "SELECT DISTINCT examination_id FROM packed") == [(2,)]
    assert query(packed, "SELECT id FROM examinations ORDER BY id") == [(2,), (3,)]


def test_what_somebody_else_wrote_stays_rows(plain, caplog):
    """What cannot be in a block: the others are packed all the same."""
    with closing(sqlite3.connect(plain)) as db, db:
        db.execute("UPDATE predictions SET body = x'00' WHERE id = 1")
        db.execute("UPDATE ctg SET bpm = x'00' WHERE id = 3")
        db.execute("UPDATE ctg SET bpm = 'text' WHERE id = 5")
    pack_file(plain, lambda amount: None)
    assert "examination 1 is not packed" in caplog.text
    assert query(plain, "SELECT count(*) FROM ctg WHERE examination_id = 1")[0][0] > 0
    assert query(plain, "SELECT count(*) FROM ctg WHERE examination_id = 2") == [(0,)]


async def test_a_backend_packs_beside_its_work(plain, monkeypatch):
    """Of what is old enough, while it stores; and nothing else."""
    monkeypatch.setattr(packing, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(writer, "MAINTAIN_EVERY_S", 0.01)
    with closing(sqlite3.connect(plain)) as db, db:
        db.execute("UPDATE examinations SET end_time = '2026-01-01T00:00:00.000Z' WHERE id = 1")
        db.execute("UPDATE examinations SET end_time = '2999-01-01T00:00:00.000Z' WHERE id = 2")
    before = await pages_of(plain)
    async with (
        open_store(plain, "normal", SENSORS, pack_days=1.0) as store,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(store.run())
        chores = tasks.create_task(store.maintain_forever())
        seq = 1000
        async with asyncio.timeout(60):
            while query(plain, "SELECT count(*) FROM ctg WHERE examination_id = 1") != [(0,)]:
                put(store, seq, Attendance(A, 4, "a4"))
                await store.written()
                seq += 1
        chores.cancel()
        store.stop()
    assert query(plain, "SELECT packed > 0 FROM examinations ORDER BY id") == [(1,), (0,), (0,)]
    assert query(plain, "SELECT count(*) FROM ctg WHERE examination_id = 4") == [(seq - 1000,)]
    assert await pages_of(plain) != before  # examination 4
    assert (await pages_of(plain))[:3] == before[:3]


def test_postgresql_is_not_packed():
    for command in (("store", "pack"), ("serve", "--pack-after", 1)):
        code, _, said = ctgkit(*command, "--store", "postgresql://nowhere/ctg")
        assert code == 2
        assert "SQLite" in said


def test_a_later_schema_is_not_read(packed):
    """What a later version moved elsewhere would be missing in silence."""
    with closing(sqlite3.connect(packed)) as db, db:
        db.execute("PRAGMA user_version = 99")
    code, _, said = ctgkit("exam", "list", "--store", f"sqlite:///{packed}")
    assert code
    assert "written by a newer CTGKit (schema 99)" in said
