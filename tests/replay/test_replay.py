"""A live run is recorded, replayed against a new backend, and compared."""

import asyncio
import contextlib
import json
import math
import threading

import msgspec
import pytest
from click.testing import CliRunner
from websockets.sync.server import serve

from ctgkit.cli.main import cli
from ctgkit.config import new_sensors
from ctgkit.errors import ConfigError, Unreachable
from ctgkit.recording.journal import JournalReader
from ctgkit.replay import client
from ctgkit.replay.comparison import Expectation, judge, rehearse
from ctgkit.replay.expect import Verdict
from ctgkit.replay.player import Player, ReplaySettings, ReplaySummary
from ctgkit.replay.texts import summary_as_text
from ctgkit.wire import SUBPROTOCOL
from tests.recording.parties import MALFORMED, judging_ml, live_run, recording, rows
from tests.server.parties import SENSORS, backend_on, message, until, ws


async def record_live(directory):
    """Record the scene; return the recording's path and the counted rejections."""
    out = directory / "run.jsonl"
    async with contextlib.AsyncExitStack() as parts:
        ml_parts = await parts.enter_async_context(contextlib.AsyncExitStack())
        ml = await ml_parts.enter_async_context(judging_ml(150.0))
        ml_out = directory / "ml.jsonl"
        ml_proxy = await parts.enter_async_context(recording(ml_out, to=ml))
        backend = await parts.enter_async_context(
            backend_on(directory / "live.db", ml_url=ml_proxy, ml_retry_s=0.1)
        )
        await backend.ml_connected()

        async def outage():
            await asyncio.sleep(0.6)
            await ml_parts.aclose()
            await asyncio.sleep(0.3)
            port = int(ml.rpartition(":")[2].partition("/")[0])
            await ml_parts.enter_async_context(judging_ml(150.0, port))
            await backend.ml_connected()

        async with recording(out, to=ws(backend, ""), stream=ws(backend, "/ws")) as proxy:
            await live_run(proxy, outage)
            results = backend.counters.results
            await until(lambda: results["relayed"] + results["fallback"] >= 240)
        assert results["fallback"]
        return out, dict(backend.counters.rejected)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """Return the directory of a recorded live run: run.jsonl, live.db; and the rejections."""
    directory = tmp_path_factory.mktemp("live")
    _, rejected = asyncio.run(asyncio.wait_for(record_live(directory), 60))
    return directory, rejected


async def replayed(directory, path, *, speed, threshold_bpm=150.0, name="replay"):
    """Replay against a new backend; return summary, verdict, differences, rejections."""
    database, out = directory / f"{name}.db", directory / f"{name}.jsonl"
    async with (
        judging_ml(threshold_bpm) as ml,
        backend_on(database, ml_url=ml, ml_retry_s=0.1) as backend,
    ):
        await backend.ml_connected()
        settings = ReplaySettings(url=ws(backend, "/ws/sensor"), credentials=SENSORS, speed=speed)
        expectation = Expectation(
            journal=JournalReader(path), stream_url=ws(backend, "/ws"), quiet_s=0.5
        )
        journal = JournalReader(path)
        summary = await rehearse(
            journal, settings, asyncio.Event(), out=out, expectation=expectation
        )
        rejected = dict(backend.counters.rejected)
    verdict = Verdict()
    differences = list(judge(expectation, out, summary, verdict))
    return summary, verdict, differences, rejected


@pytest.mark.parametrize("speed", [1.0, 10.0, math.inf])
async def test_a_replay_repeats_the_live_run(live, tmp_path, speed):
    """Same rows, same rejections, same answers, at every speed."""
    directory, rejected = live
    path = directory / "run.jsonl"
    summary, verdict, differences, again = await replayed(tmp_path, path, speed=speed)
    assert rows(tmp_path / "replay.db") == rows(live[0] / "live.db")
    assert len(rows(live[0] / "live.db")) == 240
    assert again == rejected
    assert sum(rejected.values()) == len(MALFORMED)
    assert differences == []
    assert verdict.ok
    assert verdict.compared >= 240
    assert summary.other_closes == ()
    assert (summary.sensors, summary.connections, summary.unacked) == (3, 4, 0)
    assert (summary.lag_ms is None) == (speed == math.inf)


async def test_another_threshold_is_found_and_the_samples_named(live, tmp_path):
    """One changed constant of the analyzer: the samples between the thresholds differ."""
    path = live[0] / "run.jsonl"
    _, verdict, differences, _ = await replayed(tmp_path, path, speed=math.inf, threshold_bpm=148.0)
    assert not verdict.ok
    assert verdict.different
    assert not verdict.missing
    assert not verdict.unexpected
    assert {d.member for d in differences} == {
        "prediction.hypoxia_probability", "prediction.hypoxia_risk", "status",
    }  # fmt: skip
    first = differences[0]
    assert first.sensor_id in {s.id for s in SENSORS}
    assert str(first).startswith(f"{first.sensor_id} at ")
    assert " s: " in str(first)


async def play_against(backend, path, **more):
    known = more.pop("credentials", SENSORS)
    settings = ReplaySettings(
        url=ws(backend, "/ws/sensor"), credentials=known, speed=math.inf, **more
    )
    return await Player(JournalReader(path), settings, None).run(asyncio.Event())


async def test_other_sensors_play_the_recorded_ones(live, tmp_path):
    """Unknown ids are played by configured ones, in order, also inside the messages."""
    path = live[0] / "run.jsonl"
    others = new_sensors(3)
    async with backend_on(tmp_path / "b.db", sensors=others) as backend:
        summary = await play_against(backend, path, credentials=others)
    assert len(summary.played_as) == 3
    stored = rows(tmp_path / "b.db")
    assert {row[0] for row in stored} == {entry.id for entry in others}
    assert sorted(row[1:] for row in stored if row[1]) == sorted(
        row[1:] for row in rows(live[0] / "live.db") if row[1]
    )


async def test_loops_are_new_samples(live, tmp_path):
    """The second pass has other sequence numbers, so that nothing is taken for a resend."""
    path = live[0] / "run.jsonl"
    async with backend_on(tmp_path / "b.db") as backend:
        await play_against(backend, path, loops=2)
    stored = rows(tmp_path / "b.db")
    assert len(stored) == 480
    assert len({row[:3] for row in stored if row[1] is not None}) == 2 * 170


async def test_a_part_of_a_recording(live, tmp_path):
    """From and to cut by the recording's time; connections open before are opened."""
    path = live[0] / "run.jsonl"
    async with backend_on(tmp_path / "b.db") as backend:
        summary = await play_against(backend, path, from_s=0.5, to_s=1.0)
    assert 0 < summary.sent < 120
    assert summary.recorded_s <= 0.5


async def test_a_restart_of_the_target_is_survived(live, tmp_path):
    """The backend goes away and comes back: every numbered row is there, once."""
    path = live[0] / "run.jsonl"
    database = tmp_path / "b.db"
    async with contextlib.AsyncExitStack() as first, asyncio.TaskGroup() as tasks:
        backend = await first.enter_async_context(backend_on(database))
        port = int(backend.url.rpartition(":")[2])
        settings = ReplaySettings(url=ws(backend, "/ws/sensor"), credentials=SENSORS)
        player = Player(JournalReader(path), settings, None)
        playing = tasks.create_task(player.run(asyncio.Event()))
        await until(lambda: backend.stored > 60)
        await first.aclose()
        async with backend_on(database, port=port):
            summary = await playing
    assert summary.reconnects >= 1
    assert summary.unacked == 0
    numbered = [row for row in rows(database) if row[1] is not None]
    assert numbered == [row for row in rows(live[0] / "live.db") if row[1] is not None]


async def test_wrong_credentials_and_too_few(live, tmp_path):
    """What cannot be played is said."""
    path = live[0] / "run.jsonl"
    async with backend_on(tmp_path / "b.db", sensors=new_sensors(1)) as backend:
        with pytest.raises(Unreachable, match="401"):
            await play_against(backend, path, connect_timeout_s=0)
    async with backend_on(tmp_path / "c.db") as backend:
        with pytest.raises(ConfigError, match="the recording has more"):
            await play_against(backend, path, credentials=SENSORS[:2])


async def test_no_token_is_recorded(live, tmp_path):
    """Neither in headers nor in messages."""
    path = live[0] / "run.jsonl"
    text = path.read_text()
    for entry in SENSORS:
        assert entry.token not in text
    opened = [json.loads(line) for line in text.splitlines() if " open" in line]
    headers = [line[2]["headers"] for line in opened if line[1].startswith("s")]
    assert len(headers) == 4
    assert {h["X-Auth-Sensor-Token"] for h in headers} == {"[redacted]"}


def reads_only(connection):
    for _ in connection:
        pass


@pytest.mark.parametrize(("chosen", "exit_code"), [([SUBPROTOCOL], 1), (None, 0)])
def test_a_backend_that_acknowledges_nothing(tmp_path, monkeypatch, chosen, exit_code):
    """Whoever chose acknowledgements owes them; of others nothing is known, and that is said."""
    monkeypatch.setattr(client, "ACKS_TIMEOUT_S", 0.3)
    monkeypatch.chdir(tmp_path)
    entry = SENSORS[0]
    config = tmp_path / "ctgkit.toml"
    config.write_text(f'[[sensors]]\nid = "{entry.id}"\ntoken = "{entry.token}"\n')
    config.chmod(0o600)
    about = {"path": f"/ws/sensor?sensor_id={entry.id}", "offered": [SUBPROTOCOL]}
    lines = [
        {"ctgkit_recording": 1, "created": "2026-11-28T00:00:00.000Z"},
        [0.0, "s1 open", about],
    ]
    lines += [[n / 100, "s1 >", message(n)] for n in range(1, 13)]
    (tmp_path / "run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with serve(reads_only, "127.0.0.1", 0, subprotocols=chosen) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws/sensor"
        arguments = ["replay", "run.jsonl", "--url", url, "--speed", "max", "--json"]
        done = CliRunner().invoke(cli, arguments, standalone_mode=False)
        server.shutdown()
    said = json.loads(done.stdout)
    owed, silent = (12, 0) if chosen else (0, 12)
    assert (said["sent"], said["acked"], said["overdue"], said["unconfirmed"]) == (
        12, 0, owed, silent,
    )  # fmt: skip
    assert ("12 of 12 messages were not acknowledged" in done.stderr) == bool(owed)
    assert done.return_value == exit_code
    summary = msgspec.convert(said, ReplaySummary)
    assert ("12 sent without acknowledgements" in summary_as_text(summary)) == bool(silent)
