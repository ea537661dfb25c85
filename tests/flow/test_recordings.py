"""Recordings through the whole system: what is stored is what is in the file."""

import asyncio
import csv
import gzip
import json

import pytest

from ctgkit.server.store.reader import open_reader
from tests.flow.clients import watching
from tests.flow.processes import SHARED, sensor_url, until

RECORDINGS = sorted((SHARED / "data" / "ctu").glob("*.csv.gz"))
without_shared = pytest.mark.skipif(not RECORDINGS, reason=f"no recordings in {SHARED}")


def rows_of(path):
    """Return (seconds, heart rate or None, toco) of each row, read with nothing of ctgkit's."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [
        (float(row["sec"]), float(row["bpm"]) or None, float(row["uterus"]))
        for row in csv.DictReader(text.splitlines())
    ]


def written(path, n_rows=800):
    """Write a recording with gaps, uneven steps and awkward numbers; return its path."""
    lines = ["sec,bpm,uterus"]
    for n in range(n_rows):
        sec = n / 4 + (1000 if n > n_rows // 2 else 0)
        bpm = 0 if n % 9 == 0 or 100 < n < 160 else 110 + n % 61 + 0.1
        lines.append(f"{sec:g},{bpm:g},{(n * 0.7) % 100:.6g}")
    path.write_text("\n".join(lines) + "\n")
    return path


async def assert_demo_stores(system, recording, name):
    """Play a recording with `ctgkit demo`; compare the rows with the file's."""
    database = system.directory / f"{name}.db"
    demo = system.start(
        *("demo", "--from", recording, "--speed", "max", "--sensors", 1),
        *("--json", "--db", database),
    )
    assert await demo.ended(120) == 0, demo.err
    expected = rows_of(recording)
    stored = system.query(
        "SELECT sec_from_start, bpm, uterus FROM ctg ORDER BY id", database=database
    )
    assert stored == expected
    system.assert_sound(database)
    summary = json.loads(demo.out)
    assert summary["sent"] == summary["stored"] == len(expected)
    # at this speed a busy machine's analyzer may be late: such a sample counts as unanswered first
    assert summary["results"] <= len(expected) <= summary["results"] + summary["unanswered"]
    late = summary["unanswered"]  # their answers are shown and stored as well
    assert len(expected) <= summary["seen_by_viewer"] <= len(expected) + late
    with open_reader(database) as reader:
        results = [json.loads(body) for body in reader.predictions(1)]
    answered = [(r["secFromStart"], r["data"]["BPMChild"], r["data"]["uterus"]) for r in results]
    assert len(answered) == len(set(answered)) >= summary["results"]
    assert set(answered) <= set(expected)  # late ones come after the summary, or never
    assert late or answered == expected


async def test_demo_plays_each_recording_of_a_file(system):
    """Of two sensors in one file, each is played by a sensor of its own."""
    rows = "".join(
        f"{name},{n / 4},{bpm}\n" for name, bpm in (("a", 140), ("b", 150)) for n in range(8)
    )
    (system.directory / "two.csv").write_text("sensor,sec,bpm\n" + rows)
    database = system.directory / "two.db"
    demo = system.start(
        *("demo", "--from", "two.csv", "--speed", "max", "--sensors", 2),
        *("--no-watch", "--db", database),
    )
    assert await demo.ended(120) == 0, demo.err
    stored = system.query("SELECT DISTINCT bpm FROM ctg ORDER BY bpm", database=database)
    assert [bpm for (bpm,) in stored] == [140, 150]


@without_shared
async def test_demo_stores_real_recordings(system):
    """Rows equal the file's, value for value and in order, and each got its result."""
    first_two = RECORDINGS[:2]
    await asyncio.gather(*(assert_demo_stores(system, path, path.name) for path in first_two))


@without_shared
@pytest.mark.slow
async def test_demo_stores_every_real_recording(system):
    """The same for all of them."""
    assert len(RECORDINGS) == 60
    for recording in RECORDINGS:
        await assert_demo_stores(system, recording, recording.name)


async def test_demo_stores_a_written_recording(system):
    """The same without any data but our own."""
    await assert_demo_stores(system, written(system.directory / "own.csv"), "demo")


async def test_four_processes_carry_a_recording(system):
    """Each in its own process: rows in `ctg` and results at a viewer, value for value."""
    recording = written(system.directory / "own.csv")
    expected = rows_of(recording)
    (entry, *_) = system.configure()
    ml = await system.start("ml", "--port", 0).announced()
    backend = await system.serve("--keep-results", "all", ml=ml.url).announced()
    async with watching(backend.url, "/ws?backfill=0") as viewer:
        arguments = ("--url", sensor_url(backend.url), "--from", recording, "--speed", "max")
        sensor = system.start("sensor", *arguments, "--json")
        assert await sensor.ended() == 0, sensor.err
        await until(lambda: len(viewer.seen) >= len(expected), "a result for each sample")
    assert [m["sensorID"] for m in viewer.seen] == [entry.id] * len(expected)
    got = [(m["secFromStart"], m["data"]["BPMChild"], m["data"]["uterus"]) for m in viewer.seen]
    assert got == expected
    summary = json.loads(sensor.out)
    assert summary["acked"] == summary["sent"] == len(expected)
    assert await asyncio.gather(backend.stopped(), ml.stopped()) == [0, 0]
    assert system.query("SELECT sec_from_start, bpm, uterus FROM ctg ORDER BY id") == expected
    bodies = system.query("SELECT body FROM predictions ORDER BY id")
    assert [json.loads(body) for (body,) in bodies] == viewer.seen


async def test_a_second_run_right_after_a_fast_one_is_stored_too(system):
    """At full speed a run uses numbers faster than milliseconds pass; the next one's are larger."""
    system.configure(1)
    backend = await system.serve("--grace", 60).announced()
    acked = 0
    for _ in range(2):
        arguments = ("--url", sensor_url(backend.url), "--duration", 1000, "--speed", "max")
        sensor = system.start("sensor", *arguments, "--json")
        assert await sensor.ended(20) == 0, sensor.err
        acked += json.loads(sensor.out)["acked"]
    assert acked == 8_000
    assert system.query("SELECT count(*) FROM ctg") == [(acked,)]
