"""A database that somebody wrote rubbish into, before a run or in the middle of one.

Whatever it is: one line and exit 4, or retried and counted with the health degraded, or served as
if nothing were. Never a traceback, never an acknowledgement of what isn't stored.
"""

import asyncio
import contextlib
import json
import sqlite3

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.conftest import TIME_FACTOR
from tests.flow.clients import dial_sensor, sample
from tests.flow.processes import ask, until

STATES = {
    "created_at": "UPDATE ctg SET created_at = 'yesterday'",
    "no times": "UPDATE ctg SET created_at = ''; UPDATE examinations SET start_time = X'00'",
    "examination id": "INSERT INTO examinations (id) VALUES (9223372036854775807)",
    "negative ids": "UPDATE examinations SET id = -id; UPDATE ctg SET examination_id = -7",
    "text in seq": "UPDATE ctg SET seq = 'seven' || id",
    "largest seq": "UPDATE ctg SET seq = 9223372036854775807 WHERE id = 2",
    "negative seq": "UPDATE ctg SET seq = -id",
    "blobs": "UPDATE ctg SET seq = CAST(id AS BLOB), bpm = X'00', sec_from_start = X'01'",
    "text in values": "UPDATE ctg SET bpm = 'high', uterus = 'low', sec_from_start = 'then'",
    "infinite": "UPDATE ctg SET sec_from_start = 9e999, bpm = -9e999",
    "uuid": "UPDATE sensors SET uuid = X'00ff'",
    "digest": "UPDATE sensors SET token_digest = 'secret'",
    "bed": "UPDATE examinations SET bed = X'00', end_time = NULL",
    "status": "UPDATE examinations SET status = 'well', end_time = 5",
    "parts": "UPDATE parts SET first_seq = 'a', last_seq = X'00'",
    "no parts": "DELETE FROM parts; DELETE FROM streams",
    "streams": "UPDATE streams SET name = X'00'; UPDATE ctg SET stream_id = 'x'",
    "counts": "INSERT OR REPLACE INTO counts VALUES (1, 1, 'a', 'b', 'c', X'00', 'd')",
    "counted": "UPDATE counted SET samples_through = 'all', predictions_through = X'00'",
    "not counted": "DELETE FROM counted",
    "counted twice": "INSERT INTO counted SELECT * FROM counted",
    "predictions": "UPDATE predictions SET body = X'00', sec_from_start = 'x'",
    "no column": "ALTER TABLE ctg DROP COLUMN spasms",
    "no table": "DROP TABLE predictions",
    "no index": "DROP INDEX ctg_sample",
    "a view": "ALTER TABLE ctg RENAME TO other; CREATE VIEW ctg AS SELECT * FROM other",
    "refusing": "CREATE TRIGGER t BEFORE INSERT ON ctg BEGIN SELECT RAISE(ABORT, 'no'); END",
    "ignoring": "CREATE TRIGGER t BEFORE INSERT ON ctg BEGIN SELECT RAISE(IGNORE); END",
}


def spoil(path, sql):
    """Write rubbish; another program doesn't care for our rules."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(sql)


async def fill(system, entry):
    """Have a backend store twenty samples; stop it, but leave the examination open."""
    backend = await system.serve("--grace", 60).announced()
    async with dial_sensor(backend.url, entry) as connection:
        for seq in range(20):
            await connection.send(sample(seq))
        while json.loads(await connection.recv()).get("ack") != 19:
            pass
    assert await backend.stopped() == 0
    with contextlib.closing(sqlite3.connect(system.database)) as db, db:
        row = "(examination_id, sensor_id, status, body)"
        db.execute(f"INSERT INTO predictions {row} VALUES (1, 1, 'ok', '{{}}')")


async def acknowledged(url, entry, seqs):
    """Send samples; return the number that is acknowledged within two seconds, or -1."""
    try:
        async with asyncio.timeout(2), dial_sensor(url, entry) as connection:
            for seq in seqs:
                await connection.send(sample(seq))
            while True:
                if json.loads(await connection.recv()).get("ack") == seqs[-1]:
                    return seqs[-1]
    except (TimeoutError, ConnectionClosed, InvalidHandshake, OSError, EOFError):
        return -1


async def ends_or_is_degraded(backend):
    """Wait until one of them is so."""
    async with asyncio.timeout(10 * TIME_FACTOR):
        while backend.running:
            with contextlib.suppress(OSError):  # it is about to end
                if (await ask(backend.url, "/api/health")).json()["status"] == "degraded":
                    return
            await asyncio.sleep(0.05)


async def judged(system, backend, entry):
    """Let a backend serve what it can, and judge how it does."""
    seqs = range(18, 24)
    acked = await acknowledged(backend.url, entry, seqs) if backend.url else -1
    if acked < 0 and backend.url:
        await ends_or_is_degraded(backend)
    if backend.running:
        assert await backend.stopped() in (0, 4)
    if acked >= 0:
        sql = "SELECT sec_from_start FROM ctg WHERE typeof(sec_from_start) = 'real'"
        stored = {sec for (sec,) in system.query(sql)}
        assert {seq / 4 for seq in seqs} <= stored
    assert "Traceback" not in backend.err, backend.err
    if await backend.ended() == 4:
        assert backend.err.splitlines()[-1].startswith(f"ctgkit: database {system.database}: ")


def some(names, quick):
    """Return the parameters; those that the default run needn't repeat are for `make chaos`."""
    return [
        name if name in quick else pytest.param(name, marks=pytest.mark.chaos) for name in names
    ]


@pytest.mark.parametrize("name", some(STATES, ("text in seq",)))
async def test_rubbish_before_the_start(system, name):
    """Whoever starts on it serves, or says why not; whoever reads it, too."""
    (entry,) = system.configure(1)
    await fill(system, entry)
    spoil(system.database, STATES[name])
    backend = system.serve("--grace", 60)
    await until(lambda: not backend.running or backend.out, "it serves or ends")
    if backend.running:
        await backend.announced()
    await judged(system, backend, entry)
    readers = [
        system.start("exam", *arguments, "--store", f"sqlite:///{system.database}")
        for arguments in (["list"], ["list", "--json"], ["show", 1], ["export", 1])
    ]
    for reader in readers:
        assert await reader.ended() in (0, 1, 4)
        assert "Traceback" not in reader.err, reader.err


@pytest.mark.parametrize(
    "name",
    some(
        ("text in seq", "text in values", "no table", "refusing", "ignoring"),
        ("ignoring",),
    ),
)
async def test_rubbish_in_the_middle_of_a_run(system, name):
    """The same when it happens beside a running backend."""
    (entry,) = system.configure(1)
    await fill(system, entry)
    backend = await system.serve("--grace", 60).announced()
    spoil(system.database, STATES[name])
    await judged(system, backend, entry)


async def test_pages_overwritten_in_the_middle_of_a_run(system):
    """The image is malformed: one line and exit 4, or degraded."""
    (entry,) = system.configure(1)
    await fill(system, entry)
    backend = await system.serve("--grace", 60).announced()
    with system.database.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    await judged(system, backend, entry)
