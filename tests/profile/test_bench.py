"""`bench --profile`: load on somebody else's server, which counts for itself."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from websockets.asyncio.server import serve

from ctgkit.bench.foreign import ForeignBackend, measure, probe
from ctgkit.cli.main import cli
from ctgkit.errors import Unreachable
from ctgkit.profile.library import load_profile
from tests.profile.servers import listening

TIMES = {"rate_hz": 20.0, "warm_up_s": 0.1, "window_s": 0.5}


async def test_a_message_counts_when_it_is_answered():
    async with listening() as heard:
        heard.answer = lambda *_: (200, b'{"id": 7}')
        backend = ForeignBackend(load_profile("value-posts", f"http://{heard.url}"), {})
        level = await measure(backend, 3, **TIMES)
    values = [json.loads(body) for _, path, _, body in heard.requests if "measure" in path]
    assert len(values) == 3 * (2 + 10) * 2  # heart rate and toco of each sample
    assert (level.due, level.lost, level.rejected) == (30, 0, 0)
    assert 0 < level.p50_ms <= level.p99_ms <= level.max_ms


async def test_what_is_refused_is_lost():
    async with listening() as heard:
        heard.answer = lambda method, path, *_: (500 if "measure" in path else 200, b'{"id": 7}')
        backend = ForeignBackend(load_profile("value-posts", f"http://{heard.url}"), {})
        level = await measure(backend, 2, **TIMES)
    assert (level.lost, level.rejected) == (20, 24)  # those of the warm-up are refused too
    assert level.statuses == {"status 500": 24}


async def test_over_websocket_a_pong_says_that_it_was_read():
    got = []

    async def converse(link):
        got.extend([json.loads(text) async for text in link])

    async with serve(converse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        backend = ForeignBackend(load_profile("signal-messages", f"ws://127.0.0.1:{port}"), {})
        level = await measure(backend, 2, **TIMES)
    assert len(got) == 2 * 12
    assert (level.due, level.lost) == (20, 0)


async def test_nobody_there_is_unreachable(monkeypatch):
    monkeypatch.setattr("ctgkit.bench.foreign.CONNECT_S", 0.0)
    backend = ForeignBackend(load_profile("value-posts", "http://127.0.0.1:9"), {})
    with pytest.raises(Unreachable):
        await probe(backend, 20.0)


MOTHER = 'url = "http://b:2/x"\ngap = "skip"\nbody = {hr = "{MEMBER}"}\n'


async def test_what_only_simulated_sensors_know_is_sent_too(tmp_path):
    """Skipped as a gap, a profile of the mother's rate would send nothing, and pass."""
    (tmp_path / "mother.toml").write_text(MOTHER.replace("MEMBER", "mother"))
    async with listening() as heard:
        renderer = load_profile(str(tmp_path / "mother.toml"), f"http://{heard.url}")
        level = await measure(ForeignBackend(renderer, {}), 2, **TIMES)
    assert (level.due, level.lost) == (20, 0)
    assert [json.loads(body) for *_, body in heard.requests] == [{"hr": 80}] * 24


async def test_sensors_leave_together():
    """A server that is slow to answer a close frame costs its time once, not once per sensor."""
    async with listening() as heard:
        leaving, left = asyncio.Barrier(5), []

        async def farewell():
            left.append(await leaving.wait())

        heard.farewell = farewell
        renderer = load_profile("signal-messages", f"ws://{heard.url}")
        await measure(ForeignBackend(renderer, {}), 5, **TIMES)
        assert sorted(left) == [0, 1, 2, 3, 4]


def test_a_profile_over_tls_stays_over_tls(tmp_path):
    (tmp_path / "one.toml").write_text('url = "https://b:2/x"\nbody = {hr = "{fhr}"}\n')
    arguments = ["bench", "127.0.0.1:9", "--profile", str(tmp_path / "one.toml")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ctgkit.bench.foreign.CONNECT_S", 0.0)
        result = CliRunner().invoke(cli, arguments)
    assert "https://127.0.0.1:9/x" in str(result.exception)
    result = CliRunner().invoke(cli, [*arguments, "--min-sensors", "9999999"])
    assert (result.exit_code, "ulimit" in result.output) == (2, True)
