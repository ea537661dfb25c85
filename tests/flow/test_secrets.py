"""Planted tokens are looked for wherever a process of ours writes."""

import asyncio
import signal
import stat

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ctgkit.config import read_config
from ctgkit.wire import TOKEN_HEADER
from tests.flow.processes import ask, until, until_reports
from tests.ports import free_port


async def knock(url, path, headers):
    with pytest.raises(InvalidStatus) as refused:
        await connect(url.replace("http", "ws", 1) + path, additional_headers=headers)
    return refused.value.response


async def test_tokens_are_nowhere(system):
    """Not in logs at -v, the database and its log, recordings, the audit log, or any answer."""
    known, stranger = system.configure(2)
    viewer_token = read_config(system.directory / "ctgkit.toml").viewer_token
    backend = await system.serve("--audit-log", "audit.jsonl", "-v").announced()
    port = free_port()
    recorder = system.start(
        *("record", "--listen", f"127.0.0.1:{port}", "--to", backend.url.replace("http", "ws")),
        *("--url", backend.url, "--out", "run.jsonl", "-v"),
    )
    await until(lambda: str(port) in recorder.out + recorder.err, "the proxy listens")
    sensor = system.start("sensor", "--url", f"ws://127.0.0.1:{port}/ws/sensor", "-v", "--rate", 50)
    await until_reports(backend.url, {"sensors": 1}, "the sensor is in")
    answers = [
        await knock(backend.url, f"/ws/sensor?sensor_id={sensor_id}{in_url}", {TOKEN_HEADER: token})
        for sensor_id in (known.id, stranger.id, "00000000-0000-0000-0000-000000000000")
        for in_url, token in (("", "planted-1"), ("&token=planted-2", "planted-3"))
    ]
    assert {(a.status_code, bytes(a.body)) for a in answers} == {
        (401, b'{"error": "unknown sensor or wrong token"}\n')
    }
    said = [await ask(backend.url, path) for path in ("/metrics", "/api/health", "/", "/nothing")]
    await until(lambda: system.query("SELECT count(*) FROM ctg")[0][0] > 10, "samples are stored")
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in system.directory.iterdir()
        if path.suffix in (".jsonl", ".db", ".db-wal", ".db-shm", ".toml")
    }
    assert {"audit.jsonl", "run.jsonl", "ctg.db", "ctg.db-wal", "ctg.db-shm"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    backend.send(signal.SIGHUP)  # as logrotate does: nothing happens
    in_the_log = (system.directory / "ctg.db-wal").read_bytes()
    assert await sensor.stopped() == 0
    assert await asyncio.gather(recorder.stopped(), backend.stopped()) == [0, 0]
    written = {
        path.name: path.read_bytes()
        for path in system.directory.iterdir()
        if path.is_file() and path.name != "ctgkit.toml"
    }
    assert len(written) >= 8
    assert b"refused" in written["audit.jsonl"]
    written |= {"wal": in_the_log, "answers": b"".join(answer.body for answer in said)}
    for secret in (known.token, stranger.token, viewer_token, "planted"):
        assert [name for name, text in written.items() if secret.encode() in text] == []
