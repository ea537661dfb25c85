"""Texts of peers, on their way to logs, terminals and reports; views have tests of their own."""

import json
import logging
import os
import sqlite3
import sys
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from ctgkit.check.checks import Check, Verdict
from ctgkit.check.report import as_junit, details
from ctgkit.cli.logs import OneLine
from ctgkit.cli.main import cli
from ctgkit.recording import read_recordings
from ctgkit.server.store import schema

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\x9b31m\r\n2026-01-01 ERROR forged \u202e]]></testsuite>\x00"


def test_a_log_line_is_one_line():
    """A peer's text neither forges a line nor commands the terminal, nor in a traceback."""
    record = logging.makeLogRecord({"msg": "sensor %s", "args": (HOSTILE,), "levelname": "INFO"})
    assert OneLine().format(record).isprintable()
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record.exc_info = sys.exc_info()
    _, *traceback = OneLine().format(record).split("\n")
    assert "ERROR forged" in traceback[-1]
    assert all(line.startswith("  ") and line.isprintable() for line in traceback)


@pytest.mark.parametrize("name", [b"a\x1b[31m.csv", b"bad\xff.csv", b"new\nline.csv", b"=1+1.csv"])
def test_names_of_files(tmp_path, name):
    """Any name that a disk can hold: JSON stays JSON, a line a line; no traceback."""
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    path.write_text("sec,bpm,uc\n" + "".join(f"{n},140,10\n" for n in range(90)))

    def run(*arguments):
        done = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout_bytes.decode()

    legible = name.decode("utf-8", "replace")
    assert json.loads(run("inspect", path, "--json"))["file"].endswith(legible)
    assert json.loads(run("analyze", path, "--json"))["recording"] == legible
    for out in ("found.json", "found.csv"):
        text = run("analyze", path, "--out", tmp_path / out)
        assert text.splitlines()[0].isprintable()
    assert json.loads((tmp_path / "found.json").read_text("utf-8"))["recording"] == legible
    folder = path.with_suffix("")
    run("convert", path, folder)
    assert [one.fhr_bpm.tolist() for one in read_recordings(folder)] == [[140] * 90]


def test_reports_of_checks():
    """On the terminal, and as XML that any CI can read."""

    async def run(_bench):
        raise AssertionError("not called")

    check = Check(id="S-1.1/x", title="x", level="MUST", run=run)
    verdicts = [Verdict(check=check, outcome="fail", expected=HOSTILE, actual=HOSTILE)]
    assert all(line.isprintable() for line in details(verdicts[0]))
    (failure,) = ET.fromstring(as_junit("http://x", verdicts, False)).iter("failure")
    assert "]]></testsuite>" in failure.text
    assert failure.get("message").isprintable()


@pytest.mark.parametrize("arguments", [["list"], ["show", "1"]])
def test_a_foreign_database_on_the_terminal(tmp_path, monkeypatch, arguments):
    """Its texts are shown, not obeyed."""
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    path = tmp_path / "ctg.db"
    with closing(sqlite3.connect(path)) as db:
        for statements in schema.MIGRATIONS:
            for sql in statements:
                db.execute(sql)
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute("INSERT INTO examinations (bed, notes) VALUES (?, ?)", (HOSTILE, HOSTILE))
        db.execute("INSERT INTO sensors (uuid) VALUES (?)", (HOSTILE,))
        db.execute(
            "INSERT INTO ctg (examination_id, sec_from_start, uuid, sensor_id) VALUES (1, 0, ?, 1)",
            (HOSTILE,),
        )
        db.commit()
    shown = CliRunner().invoke(cli, ["exam", *arguments, "--store", f"sqlite:///{path}"])
    assert shown.exit_code == 0
    assert "forged" in shown.output
    assert all(line.isprintable() for line in shown.output.split("\n"))
