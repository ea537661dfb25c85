"""One database has one backend; readers are free, also on media that can only be read."""

import contextlib
import json
import os
import shutil
import sqlite3

import pytest

from tests.chaos.test_disk import obey_modes
from tests.flow.clients import dial_sensor, sample
from tests.flow.processes import until


async def stored_one(url, entry):
    """Have one sample acknowledged."""
    async with dial_sensor(url, entry) as connection:
        await connection.send(sample(1_000))
        assert json.loads(await connection.recv()) == {"ack": 1_000}


@pytest.mark.parametrize("through", ["itself", "symlink", "relative"])
async def test_a_second_backend_is_refused(system, through):
    """Exit 4 and one line with the owner's process id; the first one's examination goes on."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    async with dial_sensor(backend.url, entry) as connection:
        await connection.send(sample(1_000))
        await connection.recv()
        real = system.database
        if through == "symlink":
            system.database = system.directory / "link.db"
            system.database.symlink_to(real)
        elif through == "relative":
            system.database = real.name
        second = system.serve()
        assert await second.ended() == 4
        assert "Traceback" not in second.err
        last = second.err.splitlines()[-1]
        assert f"in use by another ctgkit serve: process {backend.pid} on " in last
        system.database = real
        reader = system.start("exam", "list", "--json", "--store", f"sqlite:///{real}")
        assert await reader.ended() == 0
        (listed,) = reader.lines()
        assert (listed["state"], listed["samples"]) == ("open", 1)
        await connection.send(sample(1_001))
        assert json.loads(await connection.recv()) == {"ack": 1_001}
    assert await backend.stopped() == 0
    assert system.query("SELECT id, status FROM examinations") == [(1, 1)]
    assert not list(system.directory.glob("*-owner"))


async def test_the_lock_goes_with_its_process(system):
    """After kill -9 the next one starts at once."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    await stored_one(backend.url, entry)
    backend.kill()
    assert list(system.directory.glob("*-owner"))
    backend = await system.serve().announced()
    assert await backend.stopped() == 0


async def test_both_at_once(system):
    """Of four that start together, one serves."""
    system.configure(1)
    backends = [system.serve() for _ in range(4)]
    await until(lambda: sum(b.running for b in backends) == 1, "three were refused")
    (alive,) = [b for b in backends if b.running]
    await alive.announced()
    assert await alive.stopped() == 0


@pytest.mark.parametrize(
    "store", ["sqlite:///:memory:", "sqlite:///file:x?mode=memory", "sqlite:///x.db?mode=memory"]
)
async def test_what_keeps_nothing_is_refused(system, store):
    """Nothing is acknowledged that lives in memory only, and no file of that name is made."""
    system.configure(1)
    before = set(system.directory.iterdir())
    for command in (("serve", "--port", 0), ("exam", "list")):
        refused = system.start(*command, "--store", store)
        assert await refused.ended() == 2
        assert "is not a file path" in refused.err
    assert {p.suffix for p in set(system.directory.iterdir()) - before} <= {".out", ".err", ""}
    assert not list(system.directory.glob("*memory*"))


@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
async def test_what_is_no_file_is_refused(system, kind):
    """A pipe would be waited for, /dev/null would keep nothing."""
    system.configure(1)
    system.database = system.directory / "it"
    match kind:
        case "fifo":
            os.mkfifo(system.database)
        case "device":
            system.database.symlink_to("/dev/null")
        case "directory":
            system.database.mkdir()
    for refused in (
        system.serve(),
        system.start("exam", "list", "--store", f"sqlite:///{system.database}"),
    ):
        assert await refused.ended() == 4
        assert "no" in refused.err.splitlines()[-1]
        assert "Traceback" not in refused.err


async def test_a_database_on_a_medium_that_can_only_be_read(system):
    """All that only reads works there; rows that are still in the log are not left out."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    await stored_one(backend.url, entry)
    medium = system.directory / "medium"
    medium.mkdir()
    copy = medium / "copy.db"
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{system.database}{suffix}", f"{copy}{suffix}")
    assert await backend.stopped() == 0
    medium.chmod(0o500)
    exam = ("exam", "list", "--json", "--store", f"sqlite:///{copy}")
    refused = system.start(*exam, preexec_fn=obey_modes)
    assert await refused.ended() == 4
    assert "copy.db-wal" in refused.err.splitlines()[-1]
    medium.chmod(0o700)
    with contextlib.closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT count(*) FROM ctg").fetchall() == [(1,)]
    medium.chmod(0o500)
    assert [p.name for p in medium.iterdir()] == ["copy.db"]
    read = system.start(*exam, preexec_fn=obey_modes)
    assert await read.ended() == 0, read.err
    assert read.lines()[0]["samples"] == 1
    export = system.start("exam", "export", "1", *exam[3:], preexec_fn=obey_modes)
    assert await export.ended() == 0, export.err
    assert len(export.out.splitlines()) == 2
    medium.chmod(0o700)


async def test_a_database_of_two_names_and_a_loop_of_links_are_refused(system):
    """SQLite keeps its log by name: two backends would lose what they acknowledged."""
    system.configure(1)
    await system.serve().announced()
    other = system.directory / "other.db"
    os.link(system.database, other)
    system.database = other
    second = system.serve()
    assert await second.ended() == 4
    assert "2 names" in second.err.splitlines()[-1]
    loop = system.directory / "loop.db"
    loop.symlink_to(loop)
    system.database = loop
    third = system.serve()
    assert await third.ended() == 4
    assert "Traceback" not in third.err
