"""`ctgkit exam`: what was stored comes back."""

import csv
import io
import json

import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.recording import read_recording
from ctgkit.recording.files.csv import read_csv
from tests.server.parties import SENSORS, acked, backend_on, message, ml_service, result, sensor


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return f"sqlite:///{tmp_path / 'ctg.db'}"


async def fill(path):
    async with (
        ml_service(lambda request: [result(request)]) as url,
        backend_on(path, ml_url=url) as backend,
        sensor(backend) as s,
    ):
        await backend.ml_connected()
        for seq in range(1, 9):
            await s.send(message(seq, fhr=None if seq == 4 else 140.25))
        await acked(s, 8)
        while backend.counters.results["relayed"] < 8:
            await (await s.ping())


def exam(*arguments):
    done = CliRunner().invoke(cli, ["exam", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


async def test_list_and_show(store, tmp_path):
    """The numbers are those of the rows, as text and as JSON."""
    await fill(tmp_path / "ctg.db")
    listed = json.loads(exam("list", "--store", store, "--json"))
    assert listed["state"] == "closed"
    assert [listed[k] for k in ("id", "sensors", "samples", "with_signal", "predictions")] == [
        1, 1, 8, 7, 8,
    ]  # fmt: skip
    assert " 8" in exam("list", "--store", store)
    shown = json.loads(exam("show", "1", "--store", store, "--json"))
    assert shown["by_sensor"][0]["uuid"] == SENSORS[0].id
    assert "8 samples, 7 with signal" in exam("show", "1", "--store", store)


async def test_export(store, tmp_path):
    """CSV and JSON hold every sample; no signal is empty or null; the CSV plays again."""
    await fill(tmp_path / "ctg.db")
    rows = list(csv.DictReader(io.StringIO(exam("export", "1", "--store", store))))
    assert [r["bpm"] for r in rows] == ["140.25"] * 3 + [""] + ["140.25"] * 4
    out = tmp_path / "exam.json"
    exam("export", "1", "--store", store, "--out", str(out))
    exported = json.loads(out.read_text())
    assert [s["bpm"] for s in exported["samples"]].count(None) == 1
    assert len(exported["results"]) == 8
    exam("export", "1", "--store", store, "--out", str(tmp_path / "exam.csv"))
    assert len(read_csv(tmp_path / "exam.csv").sec_from_start) == 8


@pytest.mark.parametrize("name", ["exam.jsonl", "exam.npz", "exam.csv.gz"])
async def test_export_in_other_formats(store, tmp_path, name):
    """Each sensor's samples, with its id where the format has a place for it."""
    await fill(tmp_path / "ctg.db")
    exam("export", "1", "--store", store, "--out", str(tmp_path / name))
    one = read_recording(tmp_path / name)
    assert one.sensor_id == SENSORS[0].id
    assert one.comments == ("examination 1, bed one",)
    assert [str(v) for v in one.fhr_bpm] == ["140.25"] * 3 + ["nan"] + ["140.25"] * 4


async def test_serves_configuration_is_followed(store, tmp_path):
    """With a ctgkit.toml, exam reads the database that serve writes."""
    await fill(tmp_path / "ctg.db")
    (tmp_path / "ctgkit.toml").write_text(f"[serve]\nstore = '{store}'\n")
    assert json.loads(exam("list", "--json"))["samples"] == 8


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["show", "9"], "no examination 9"),
        (["export", "9"], "no examination 9"),
        (["export", "1", "--out", "x.pdf"], "unknown format; known are"),
        (["export", "1", "--out", "missing/x.csv"], "no such directory"),
    ],
)
async def test_mistakes(store, tmp_path, arguments, text):
    """What isn't there, or can't be written, is said."""
    await fill(tmp_path / "ctg.db")
    done = CliRunner().invoke(cli, ["exam", *arguments, "--store", store])
    assert done.exit_code != 0
    assert text in str(done.exception) + done.stderr
