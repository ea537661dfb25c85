"""Databases as a whole: what refuses them, reading both kinds, copying one into the other."""

import asyncio
import contextlib
import csv
import importlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import click
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ctgkit.cli.main import cli
from ctgkit.dsn import Dsn
from ctgkit.errors import CtgkitError
from ctgkit.wire import SUBPROTOCOL, TOKEN_HEADER
from tests.flow.processes import until
from tests.postgres import PASSWORD, asked, query
from tests.server.parties import (
    SENSORS,
    acked,
    backend_on,
    closed_with,
    message,
    ml_service,
    sensor,
    ws,
)

for name in (
    "server.exam", "server.databases", "server.registering", "recording.files.original",
    "recording.inspect_command", "recording.convert_command", "recording.files.postgres",
    "server.store.sqlite_side", "server.store.postgres.side", "server.store.postgres.opening",
):  # fmt: skip
    importlib.import_module(f"ctgkit.{name}")
"""Commands run in threads here, and pytest's importer can't (CPython issue 106905)."""

ODD = [(0.1 + 0.2, 140.3, None, -1e-300), (2.5, None, 12.7, 0.0), (3.0, 60.0, 0.0, 99.99)]


def ctgkit(*arguments, **environment):
    """Run a command in this process; return its exit code, stdout, stderr."""
    names = ("PGPASSWORD", "PGPASSFILE", "PGUSER", "PGHOST")
    runner = CliRunner(env=dict.fromkeys(names) | environment)
    done = runner.invoke(cli, list(map(str, arguments)), standalone_mode=False)
    match done.exception:
        case None:
            return done.return_value or 0, done.stdout, done.stderr
        case CtgkitError() as error:
            return error.exit_code, done.stdout, f"{done.stderr}ctgkit: {error}\n"
        case click.ClickException() as error:
            return error.exit_code, done.stdout, error.format_message()
    raise done.exception


async def away(*arguments, **environment):
    """Do the same beside an event loop."""
    return await asyncio.to_thread(ctgkit, *arguments, **environment)


def ctgkit_process(*arguments, **environment):
    """Do the same as its user does."""
    done = subprocess.run(
        [sys.executable, "-m", "ctgkit", *map(str, arguments)], capture_output=True, text=True,
        env=os.environ | environment, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def dsn(postgres):
    return asyncio.run(postgres.database())


async def fill(database, **settings):
    """Let a backend store two examinations, with results that repeat."""

    def answer(request):
        return [json.dumps({**request, "status": "ok", "prediction": None})]

    async with (
        ml_service(answer) as url,
        backend_on(database, ml_url=url, ml_retry_s=0.1, **settings) as backend,
    ):
        await backend.ml_connected()
        async with sensor(backend) as one, sensor(backend, 2) as two:
            for seq, (sec, fhr, uterus, spasms) in enumerate(ODD):
                data = {"BPMChild": fhr, "uterus": uterus, "spasms": spasms}
                for connection in (one, two):
                    await connection.send(message(seq, sec, data=data))
            await acked(one, 2)
            await acked(two, 2)
            relayed = backend.counters.results
            await until(
                lambda: relayed["relayed"] + relayed["fallback"] >= backend.stored,
                "what is new is answered",
            )
        async with sensor(backend, 1, v1=False) as plain:
            await plain.send(message(None, sec=7.0))


async def same(left, right):
    code, out, err = await away("store", "check", left, right, "--json")
    return code, [json.loads(line) for line in out.splitlines()], err


REFUSALS = {
    "no such name": ("postgresql://nobody.invalid/ctg", {}, 3, "does not resolve"),
    "nobody listens": ("postgresql://127.0.0.1:1/ctg", {}, 3, "refused"),
    "wrong password": ("{host}", {"PGPASSWORD": "wrong one"}, 4, "password authentication failed"),
    "no password": ("{host}", {"PGPASSFILE": "/nowhere"}, 4, "password"),
    "no such database": ("{nowhere}", {}, 4, "does not exist"),
}


@pytest.mark.parametrize(
    ("case", "what"),
    [*itertools.product(REFUSALS, ["serve", "list"]), ("wrong password", "process")],
)
def test_a_database_that_cannot_be_used_is_one_line(postgres, case, what):
    address, environment, code, said = REFUSALS[case]
    address = address.format(
        host=postgres.dsn("postgres", password=False),
        nowhere=postgres.dsn("nowhere", host=False),
    )
    run = ctgkit_process if what == "process" else ctgkit
    command = ["exam", "list"] if what == "list" else ["serve", "--port", "0", "--ml", "none"]
    got, out, err = run(*command, "--store", address, **environment)
    assert (got, out) == (code, "")
    (line,) = [one for one in err.splitlines() if one.startswith("ctgkit: ")]
    assert said in line
    assert "Traceback" not in err
    assert "wrong one" not in err


@pytest.mark.parametrize("what", ["newer", "foreign", "rights"])
def test_a_database_that_is_not_ours_to_change_stays_as_it_is(postgres, dsn, what):
    address = dsn
    if what == "newer":
        assert ctgkit("store", "migrate", "--store", dsn)[0] == 0
        asked(dsn, "UPDATE ctgkit_schema SET version = 99")
    elif what == "foreign":
        asked(dsn, "CREATE TABLE examinations (id int)")
    else:
        name = dsn.partition("@/")[2].partition("?")[0]
        asked(dsn, f"CREATE ROLE guest_{name} LOGIN")
        address = postgres.dsn(name, host=False, who=f"guest_{name}")
    tables = "SELECT tablename, (SELECT count(*) FROM pg_class) FROM pg_tables ORDER BY 1"
    before = asked(dsn, tables)
    for command in (["serve", "--port", "0", "--ml", "none"], ["store", "migrate"]):
        code, out, err = ctgkit(*command, "--store", address)
        assert (code, out) == (4, "")
        (line,) = [one for one in err.splitlines() if one.startswith("ctgkit: ")]
        said = {"newer": "newer CTGKit", "foreign": "nothing was changed", "rights": "permission"}
        assert said[what] in line
    assert asked(dsn, tables) == before


def test_no_password_is_shown(postgres, tmp_path):
    """Not on the command line, where `ps` shows it; from the environment it is used, and hidden."""
    address = postgres.dsn("postgres")
    assert PASSWORD.replace(" ", "%20") in address
    code, out, err = ctgkit("exam", "list", "--store", address)
    assert code == 2
    assert "PGPASSWORD" in err
    assert "secret" not in out + err
    for name, said in (("postgres", "has no CTGKit tables"), ("nowhere", "does not exist")):
        code, out, err = ctgkit("exam", "list", CTGKIT_EXAM_LIST_STORE=postgres.dsn(name))
        assert code == 4
        assert said in err
        assert "secret" not in out + err
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:{postgres.port}:*:ctg:{PASSWORD}\n")
    passfile.chmod(0o600)
    plain = postgres.dsn("postgres", password=False)
    for environment in ({"PGPASSWORD": PASSWORD}, {"PGPASSFILE": str(passfile)}):
        code, _, err = ctgkit("exam", "list", "--store", plain, **environment)
        assert (code, "has no CTGKit tables" in err) == (4, True)


async def test_a_copy_is_the_same_on_both_sides(postgres, tmp_path):
    """SQLite to PostgreSQL and back: equal checksums, equal exports, and serve goes on with it."""
    first, there, back = tmp_path / "a.db", await postgres.database(), tmp_path / "b.db"
    await fill(first)
    addresses = [f"sqlite:///{first}", there, f"sqlite:///{back}"]
    for source, target in itertools.pairwise(addresses):
        code, out, err = await away("store", "copy", source, target, "--json")
        assert code == 0, err
        copied = [json.loads(line) for line in out.splitlines()]
        assert [(c["samples"], c["copied"]) for c in copied][:2] == [(3, True), (3, True)]
        code, rows, err = await same(source, target)
        assert code == 0, (rows, err)
    texts = set()
    for address in addresses:
        code, out, err = await away("exam", "export", "1", "--format", "json", "--store", address)
        assert code == 0, err
        texts.add(out)
    (text,) = texts
    assert [row["bpm"] for row in json.loads(text)["samples"]] == [140.3, None, 60.0]
    assert len(json.loads(text)["results"]) == 3
    for address in addresses[:2]:
        code, out, err = await away("exam", "list", "--json", "--store", address)
        shown = [json.loads(line) for line in out.splitlines()]
        assert [(e["id"], e["state"], e["samples"]) for e in shown][:2] == [
            (1, "closed", 3), (2, "closed", 3)
        ]  # fmt: skip
    # What was stored before is still known: the same numbers again are duplicates, ids go on.
    async with backend_on(Dsn(there), node="n") as backend, sensor(backend) as one:
        for seq, (sec, fhr, uterus, spasms) in enumerate(ODD):
            data = {"BPMChild": fhr, "uterus": uterus, "spasms": spasms}
            await one.send(message(seq, sec, data=data))
        await one.send(message(3))
        await acked(one, 3)
        assert backend.stored == 1
    ids = await query(there, "SELECT DISTINCT examination_id FROM samples ORDER BY 1")
    assert [row[0] for row in ids] == [1, 2, 3, 4]


async def test_a_copy_that_was_interrupted_goes_on(postgres, tmp_path):
    source, there = tmp_path / "a.db", await postgres.database()
    await fill(source)
    assert (await away("store", "copy", f"sqlite:///{source}", there))[0] == 0
    await query(there, "DELETE FROM samples WHERE examination_id = 2")
    code, _, err = await away("store", "copy", f"sqlite:///{source}", there)
    assert code == 4
    assert "examination 2 differs: 0 samples" in err
    code, rows, _ = await same(f"sqlite:///{source}", there)
    assert code == 1
    assert [row["equal"] for row in rows] == [True, False, True]
    for table in ("predictions", "parts", "examinations"):
        column = "id" if table == "examinations" else "examination_id"
        await query(there, f"DELETE FROM {table} WHERE {column} = 2")
    code, out, _ = await away("store", "copy", f"sqlite:///{source}", there, "--json")
    assert code == 0
    assert [json.loads(line)["copied"] for line in out.splitlines()] == [False, True, False]
    await query(there, "INSERT INTO examinations (id, end_time) VALUES (77, now())")
    code, _, err = await away("store", "copy", f"sqlite:///{source}", there)
    assert code == 4
    assert "holds examination 77" in err


async def test_nothing_is_copied_from_under_a_running_backend(postgres, tmp_path):
    there, file = await postgres.database(), tmp_path / "a.db"
    async with backend_on(Dsn(there), node="busy"), backend_on(file):
        code, _, err = await away("store", "copy", there, f"sqlite:///{tmp_path}/b.db")
        assert (code, "node busy is running" in err) == (4, True)
        code, _, err = await away("store", "copy", f"sqlite:///{file}", await postgres.database())
        assert (code, "in use by another" in err) == (4, True)
        code, out, _ = await away("nodes", "list", "--store", there, "--json")
        (node,) = [json.loads(line) for line in out.splitlines()]
        assert (node["node"], node["alive"], node["sensors"]) == ("busy", True, 0)


async def test_rubbish_is_not_copied(postgres, tmp_path):
    source, there = tmp_path / "a.db", await postgres.database()
    await fill(source)
    with closing(sqlite3.connect(source)) as db:
        db.execute("UPDATE ctg SET bpm = 'x\ny' WHERE examination_id = 2 AND seq = 1")
        db.commit()
    code, _, err = await away("store", "copy", f"sqlite:///{source}", there)
    assert code == 4
    assert "examination 2 has invalid data" in err
    assert await query(there, "SELECT id FROM examinations") == [(1,)]


async def test_convert_paper_and_check_read_an_address(postgres, tmp_path):
    there = await postgres.database()
    await fill(Dsn(there), node="n")
    out = tmp_path / "x.csv"
    code, _, err = await away("convert", there, out, "--exam", "1")
    assert code == 0, err
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["bpm"] for row in rows] == ["140.3", "", "60"]
    assert SENSORS[0].id in out.read_text()
    code, said, err = await away("inspect", there, "--exam", "2", "--json")
    assert code == 0, err
    assert json.loads(said)["format"] == "database"
    code, _, err = await away("convert", there, out, "--exam", "9", "--force")
    assert (code, "no examination 9; it has 1, 2, 3" in err) == (4, True)


async def age(where, days, numbers):
    """Let examinations have ended so many days ago."""
    if isinstance(where, str):
        sql = "UPDATE examinations SET end_time = end_time - make_interval(days => $1)"
        await query(where, f"{sql} WHERE id = ANY ($2)", days, numbers)
        return
    with closing(sqlite3.connect(where)) as db:
        for number in numbers:
            sql = "UPDATE examinations SET end_time = strftime('%Y-%m-%dT%H:%M:%fZ', end_time, ?)"
            db.execute(f"{sql} WHERE id = ?", (f"-{days} days", number))
        db.commit()


def listed(address):
    code, out, err = ctgkit("exam", "list", "--json", "--store", address)
    assert code == 0, err
    return [(row["id"], row["samples"]) for row in map(json.loads, out.splitlines())]


def test_help_names_the_pause_after_which_a_lost_sensor_is_gone():
    """`serve --help` imports nothing of PostgreSQL, so it says the number again."""
    opening = importlib.import_module("ctgkit.server.store.postgres.opening")
    _, said, _ = ctgkit("serve", "--help")
    assert f"Default: {opening.HANDOVER_S:g} with PostgreSQL" in " ".join(said.split())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_is_old_is_removed(postgres, tmp_path, kind):
    """By hand, after a question, and by serve; what is open stays, the rest keeps its rows."""
    where = tmp_path / "a.db" if kind == "sqlite" else await postgres.database()
    database, address = (where, f"sqlite:///{where}") if kind == "sqlite" else (Dsn(where), where)
    await fill(database)
    await fill(database)
    before = await asyncio.to_thread(listed, address)
    assert [number for number, _ in before] == [1, 2, 3, 4, 5, 6]
    code, _, err = await away("exam", "delete", 2, "--store", address)
    assert (code, "--yes" in err) == (2, True)
    code, _, err = await away("exam", "delete", 2, 99, "--store", address, "--yes")
    assert (code, "no examination 99" in err) == (1, True)
    assert await asyncio.to_thread(listed, address) == before
    assert (await away("exam", "delete", 2, "--store", address, "--yes"))[0] == 0
    await age(where, 40, [1, 4])
    await age(where, 20, [3])
    code, out, _ = await away("exam", "prune", "--keep-days", 30, "--store", address, "--yes")
    assert (code, out.split(" samples")[0]) == (
        0,
        "deleted 2 of 2 examinations with 3",
    )  # 4: sent again
    assert (await away("exam", "prune", "--keep-days", 30, "--store", address, "--yes"))[0] == 1
    async with backend_on(database, keep_days=10.0) as backend, sensor(backend) as one:
        await one.send(message(50))
        await acked(one, 50)
        code, _, err = await away("exam", "delete", 7, "--store", address, "--yes")
        assert (code, "is open" in err) == (1, True)
        async with asyncio.timeout(60):
            while 3 in [number for number, _ in await asyncio.to_thread(listed, address)]:
                await asyncio.sleep(0.1)
    assert await asyncio.to_thread(listed, address) == [*before[4:], (7, 1)]
    left = "SELECT count(*) FROM {} WHERE examination_id < 5"
    for table in ("predictions", "parts"):
        if kind == "sqlite":
            with closing(sqlite3.connect(where)) as db:
                assert db.execute(left.format(table)).fetchall() == [(0,)]
                assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        else:
            assert await query(where, left.format(table)) == [(0,)]


async def test_whole_partitions_go_at_once(postgres):
    """A thousand old examinations are one TRUNCATE; the partition in use is never one."""
    there = await postgres.database()
    await fill(Dsn(there))
    await query(there, "SELECT setval('examinations_id_seq', 1002)")
    await fill(Dsn(there))
    await age(there, 40, [1, 2, 3, 1003, 1004])
    removed = [await query(there, "SELECT ctgkit_prune(30)") for _ in range(4)]
    assert removed == [[(3,)], [(1,)], [(1,)], [(0,)]]
    assert await asyncio.to_thread(listed, there) == [(1005, 1)]
    assert await query(there, "SELECT count(*) FROM samples_0") == [(0,)]
    assert await query(there, "SELECT count(*) FROM streams") == [(0,)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_sensors_live_in_the_database(postgres, tmp_path, kind):
    """Added, changed and removed beside a running serve, which sees it; tokens are shown once."""
    where = tmp_path / "a.db" if kind == "sqlite" else await postgres.database()
    database, address = (where, f"sqlite:///{where}") if kind == "sqlite" else (Dsn(where), where)

    async def run(*arguments):
        code, out, err = await away("sensors", *arguments, "--store", address, "--json")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    (early,) = await run("add", "--bed", "nine")
    async with backend_on(database) as backend:

        def connected(entry):
            return connect(
                ws(backend, f"/ws/sensor?sensor_id={entry['id']}"),
                additional_headers={TOKEN_HEADER: entry["token"]}, subprotocols=[SUBPROTOCOL],
            )  # fmt: skip

        async def let_in(entry):
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(InvalidStatus):
                        return await connected(entry)
                    await asyncio.sleep(0.05)

        (late,) = await run("add", "--bed", "nine", "--control", "127.0.0.1:9001")
        for entry in (early, late):
            line = await let_in(entry)
            await line.send(message(0))
            await acked(line, 0)
            if entry is early:
                await line.close()
        (new,) = await run("rotate-token", late["id"])
        assert new["token"] != late["token"]
        assert await closed_with(line) == 1008
        with pytest.raises(InvalidStatus, match="401"):
            await connected(late)
        line = await let_in(new)
        await run("remove", late["id"])
        assert await closed_with(line) == 1008
        with pytest.raises(InvalidStatus, match="401"):
            await connected(new)
        async with sensor(backend) as one:  # of the file
            await one.send(message(0))
            await acked(one, 0)
    rows = await run("list")
    assert [(r["id"], r["bed"]) for r in rows if r["source"] == "database"] == [
        (early["id"], "nine")
    ]
    assert {r["id"] for r in rows if r["source"] == "file"} == {s.id for s in SENSORS}
    code, _, err = await away("sensors", "remove", late["id"], "--store", address)
    assert (code, "in this database" in err) == (1, True)
    code, _, err = await away("sensors", "add", "--sensor-id", early["id"], "--store", address)
    assert (code, "already exists" in err) == (1, True)
    # every token that was printed is printed nowhere else
    tokens = [early["token"], late["token"], new["token"]]
    if kind == "sqlite":
        held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    else:
        rows = await query(where, "SELECT sensors::text FROM sensors")
        held = str(rows).encode()
    assert not any(token.encode() in held for token in tokens)
