"""Random histories: what keeps the protocol survives them, a planted bug is shrunk to its core."""

import asyncio
import json
import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from ctgkit.check.connection import target_of
from ctgkit.check.fuzz import play, run_fuzz
from ctgkit.check.probe import run_bench
from ctgkit.check.rig import BenchSettings
from ctgkit.check.tape import Tape
from ctgkit.config import SensorEntry
from ctgkit.recording.journal import JournalReader
from ctgkit.replay.player import Player, ReplaySettings
from tests.check.benches import TOKENS, naive_backend, naive_config


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


SENSORS = tuple(SensorEntry(id=i, token=t) for i, t in TOKENS.items())


async def replay(recording, url):
    """Play a recording as `ctgkit replay` does."""
    settings = ReplaySettings(url=f"{url}/ws/sensor", credentials=SENSORS)
    return await Player(JournalReader(recording), settings, None).run(asyncio.Event())


def fuzz(directory, bug, count, seed=1, *, numbered=False, excused=()):
    """Fuzz the naive backend; return the verdict and the lines of the recording, if any."""
    out = directory / "failure.jsonl"

    async def judged():
        config, entries = naive_config(directory, "m")
        async with naive_backend(config, bug) as url:
            settings = BenchSettings(
                target=target_of(url),
                sensors=entries,
                store=Path(config["store"]),
                timeout_s=0.3,
            )
            async with run_bench(settings) as bench:
                return (await run_fuzz(bench, count, seed, out, excused))[numbered]

    verdict = asyncio.run(judged())
    if numbered:
        out = directory / "failure-v1.jsonl"
    return verdict, [json.loads(text) for text in out.read_text().splitlines()] if (
        out.exists()
    ) else []


def test_a_backend_that_keeps_the_protocol_survives(tmp_path):
    verdict, lines = fuzz(tmp_path, "", 10)
    assert verdict.outcome == "pass", verdict.actual
    assert not lines


def test_a_failure_is_shrunk_and_recorded(tmp_path):
    """One bad frame is enough, so one is left, before the good one that ends every history."""
    verdict, (header, *lines) = fuzz(tmp_path, "rejects whole arrays", 40)
    assert verdict.outcome == "fail"
    assert header["ctgkit_recording"] == 1
    assert header["simulated"] is True
    assert header["seed"] == 1
    sent = [text for _, what, text in lines if what.endswith(">")]
    assert len(sent) <= 2
    assert sorted("999" in item for item in sent[0].split("}}")[:-1]) == [False, True]
    assert lines[0][1] == "s1 open"
    assert lines[0][2]["path"].startswith("/ws/sensor?sensor_id=")
    assert asyncio.run(stored_again(tmp_path, "rejects whole arrays")) == 1
    assert asyncio.run(stored_again(tmp_path, "")) == 2


async def stored_again(directory, bug):
    """Replay the failure against a new backend; return how many samples it stores."""
    config, _ = naive_config(directory, bug or "sound")
    async with naive_backend(config, bug) as url:
        summary = await replay(directory / "failure.jsonl", url.replace("http", "ws"))
    assert summary.sent == 2
    with closing(sqlite3.connect(config["store"])) as db:
        return db.execute("SELECT count(*) FROM ctg").fetchone()[0]


HISTORY = [
    ("good", "S-4.1/binary"), ("bad", "utf8"), ("noise", "\0 ё"), ("noise", b"\xff"),
    ("drop", None), ("value", (float("nan"), 1.0)), ("again", None),
    ("array", [True, False, True]), ("again", None), ("leave", None),
    ("good", "S-4.2/upper"), ("bad", "deep"),
]  # fmt: skip


async def test_a_recorded_history_is_replayed_frame_by_frame(tmp_path):
    """With its drops and takeovers: a second connection comes while the first one stands."""
    out = tmp_path / "history.jsonl"
    config, entries = naive_config(tmp_path, "m")
    async with naive_backend(config) as url:
        settings = BenchSettings(
            target=target_of(url), sensors=entries, store=Path(config["store"])
        )
        async with run_bench(settings) as bench:
            tape = Tape()
            await play(bench, HISTORY, tape)
    tape.write(out, "", 0)

    frames, ends, connections = [], [], []

    async def handle(connection):
        number = len(connections)
        connections.append(connection)
        ends.append((number, "open"))
        for older in connections[:-1]:
            await older.close(4409)
        with suppress(ConnectionClosed):
            while True:
                frames.append(await connection.recv())
        ends.append((number, connection.close_code))

    async with serve(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        summary = await replay(out, f"ws://127.0.0.1:{port}")
    assert summary.other_closes == ()
    sent = [line for line in JournalReader(out) if line.what == ">"]
    assert frames == [line.frame.decode() if line.is_text else line.frame for line in sent]
    assert ends == [
        (0, "open"), (0, 1006), (1, "open"), (2, "open"), (1, 4409), (3, "open"), (2, 4409),
        (3, 1000), (4, "open"), (4, 1000),
    ]  # fmt: skip


NUMBERING = (
    "stores resent samples again",
    "acknowledges one too many",
    "rejects in silence",
    "never acknowledges",
    "stores under a foreign id",
)


@pytest.mark.parametrize("fault", NUMBERING[:4])
def test_a_fault_of_the_numbering_is_found(tmp_path, fault):
    """Histories under ctgkit.v1 find what the plain ones can't see."""
    verdict, lines = fuzz(tmp_path, fault, 25, numbered=True)
    assert verdict.outcome == "fail", verdict
    assert lines[1][2]["subprotocol"] == "ctgkit.v1"


def test_numbered_histories_are_survived(tmp_path):
    verdict, _ = fuzz(tmp_path, "", 15, numbered=True)
    assert verdict.outcome == "pass", verdict


def test_excused_checks_end_no_fuzzing(tmp_path):
    """A known deviation isn't found again: what it concerns isn't sent."""
    excused = [f"S-4.8/{name}" for name in ("nan", "infinity", "overflow")]
    known, _ = fuzz(tmp_path, "accepts NaN", 30, excused=[*excused, "S-4.7/fhr-high"])
    assert known.outcome == "pass", known
