"""Lines for scripts: the real command against a real server."""

import asyncio
import json
import os
import sys

import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.watch.lines import json_line
from tests.watch.backend import OTHER, SENSOR, Backend, frame, until


async def run_watch(*arguments):
    """Run ``ctgkit watch`` without a terminal; gives its process."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ctgkit", "watch", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_PROXY": "*"},
    )  # fmt: skip


async def test_json_passes_results_on():
    """Each result is one line, garbage is counted on stderr, the filter holds, and it ends."""
    first, second = frame(1.0), frame(2.0, fhr_bpm=None)
    pretty = first.replace(b",", b",\n ")
    backend = Backend(pretty, b"garbage", frame(1.0, sensor_id=OTHER), second)
    async with backend.serving() as url:
        process = await run_watch(url, "--json", "--duration", "0.7", "--sensor", SENSOR[:6])
        out, err = await process.communicate()
    assert process.returncode == 0, err
    assert [json.loads(line) for line in out.splitlines()] == [
        json.loads(first),
        json.loads(second),
    ]
    assert b"unreadable message n=1" in err
    assert backend.queries == [("/ws", {})]


async def test_plain_is_the_default_without_a_terminal():
    """A line per sensor and second, with the newest values."""
    backend = Backend()
    async with backend.serving() as url:
        process = await run_watch(url, "--duration", "20")
        await until(lambda: backend.viewers, "the viewer")
        await backend.send(frame(1.0), frame(1.25, 151.0, 33.0), frame(7.0, sensor_id=OTHER))
        lines = [(await process.stdout.readline()).decode() for _ in range(2)]
        process.terminate()
        await process.communicate()
    assert lines[0].startswith(
        f"{SENSOR}  t 1.25  fhr 151  toco 33  signal 100%  status ok  risk -"
    )
    assert lines[1].startswith(OTHER)


async def test_a_backend_that_is_not_there():
    """Exit 3 after a few seconds, one line why, no traceback."""
    process = await run_watch("http://127.0.0.1:9", "--json")
    out, err = await process.communicate()
    assert (process.returncode, out) == (3, b"")
    assert b"http://127.0.0.1:9" in err.splitlines()[-1]
    assert b"Traceback" not in err


async def test_whoever_reads_has_seen_enough():
    """As in ``ctgkit watch --json | head``: it ends, with code 0 and without a word."""
    backend = Backend(frame(1.0))
    async with backend.serving() as url:
        process = await run_watch(url, "--json", "-q")
        await process.stdout.readline()
        process._transport.get_pipe_transport(1).close()
        async with asyncio.timeout(60):
            while process.returncode is None:
                await backend.send(frame(2.0))
                await asyncio.sleep(0.05)
        err = await process.stderr.read()
    assert (process.returncode, err) == (0, b"")


async def test_nothing_happened():
    """A backend without sensors: exit 1."""
    async with Backend().serving() as url:
        process = await run_watch(url, "--plain", "--duration", "0.2")
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b""), err


@pytest.mark.parametrize(
    "arguments", [("ftp://x",), ("--plain", "--json"), ("--backfill", "-1"), ("http://h:99999",)]
)
def test_wrong_usage(arguments):
    """Exit 2 and a word about what is wrong."""
    ran = CliRunner().invoke(cli, ["watch", *arguments])
    assert ran.exit_code == 2
    assert "Error" in ran.stderr


def test_json_lines_are_harmless_and_mean_the_same():
    """Control and direction characters inside strings are escaped."""
    message = {"sensorID": "\x9b2J\x7f\u202e\u2028x", "n": 1.0}
    line = json_line(json.dumps(message, ensure_ascii=False).encode())
    assert line.isprintable()
    assert json.loads(line) == message
    assert json_line(b'{"ignored": "\xfe"}') == '{"ignored":"\ufffd"}'
