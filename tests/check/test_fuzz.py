"""Random histories: what keeps the protocol survives them, a planted bug is shrunk to its core."""

import asyncio
import json
import logging
import sqlite3
from contextlib import closing, suppress

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
from tests.check.benches import free_port
from tests.check.mutants import TOKENS, small_backend


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


def fuzz(directory, bug, count, seed=1):
    """Fuzz the small backend; return the verdict and the lines of the recording, if any."""
    out = directory / "failure.jsonl"

    async def judged():
        path = directory / "m.db"
        async with small_backend(path, f"ws://127.0.0.1:{free_port()}/", bug) as port:
            settings = BenchSettings(
                target=target_of(f"ws://127.0.0.1:{port}"),
                sensors=SENSORS,
                store=path,
                timeout_s=0.3,
            )
            async with run_bench(settings) as bench:
                return (await run_fuzz(bench, count, seed, out))[0]

    verdict = asyncio.run(judged())
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
    path = directory / f"{bug or 'sound'}.db"
    async with small_backend(path, f"ws://127.0.0.1:{free_port()}/", bug) as port:
        summary = await replay(directory / "failure.jsonl", f"ws://127.0.0.1:{port}")
    assert summary.sent == 2
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT count(*) FROM ctg").fetchone()[0]


HISTORY = [
    ("good", "S-4.1/binary"), ("bad", "utf8"), ("noise", "\0 ё"), ("noise", b"\xff"),
    ("drop", None), ("value", (float("nan"), 1.0)), ("again", None),
    ("array", [True, False, True]), ("again", None), ("leave", None),
    ("good", "S-4.2/upper"), ("bad", "deep"),
]  # fmt: skip


async def test_a_recorded_history_is_replayed_frame_by_frame(tmp_path):
    """With its drops and takeovers: a second connection comes while the first one stands."""
    path, out = tmp_path / "m.db", tmp_path / "history.jsonl"
    async with small_backend(path, f"ws://127.0.0.1:{free_port()}/") as port:
        target = target_of(f"ws://127.0.0.1:{port}")
        async with run_bench(BenchSettings(target=target, sensors=SENSORS, store=path)) as bench:
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
