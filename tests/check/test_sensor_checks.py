"""`check sensor` against a small sensor of its own with mistakes, and against `ctgkit sensor`."""

import asyncio
import json
import os
import shlex
import subprocess
import sys
import time

import pytest

from ctgkit.check.checks import exit_code
from ctgkit.check.run import run_checks
from ctgkit.check.sensor.catalogue import SENSOR
from ctgkit.check.sensor.rig import SensorBench
from tests.check.benches import TOKENS, explain, failed
from tests.check.naive_sensor import FAULTS, NaiveSensor
from tests.ports import free_port
from tests.programs import started

SLOW = {"S-7.1/pauses", "S-7.2/refused", "S-7.2/replaced", "S-7.3/redials"}
"""Checks that watch for ten seconds and more."""
QUICK = [c for c in SENSOR.checks.values() if c.id not in SLOW]
FAST = (
    "",
    "token in the URL",
    "texts for numbers",
    "texts for numbers behind the first of an array",
    "numbers stand still",
    "forgets what waits",
    "sends what is refused for ever",
)


async def judge(fault, checks):
    bench, port = SensorBench(3.0, None, None), free_port()
    async with bench.serving("127.0.0.1", port), asyncio.TaskGroup() as tasks:
        sensor = tasks.create_task(NaiveSensor(port, fault).run())
        found = await run_checks(bench, checks)
        sensor.cancel()
    return found


@pytest.fixture(scope="module")
def verdicts():
    async def all_of_them():  # at a time: they mostly wait
        found = await asyncio.gather(*(judge(fault, QUICK) for fault in FAST))
        return dict(zip(FAST, found, strict=True))

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("fault", FAST)
def test_a_fault_of_a_sensor_is_found_by_its_checks_alone(verdicts, fault):
    assert failed(verdicts[fault]) == FAULTS[fault], explain(verdicts[fault])


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_sensor_among_all_checks(fault):
    found = asyncio.run(judge(fault, SENSOR.select((), strict=True)))
    assert failed(found) == FAULTS[fault], explain(found)


def test_nobody_dials(monkeypatch):
    """Then nothing is judged, and the run fails."""
    monkeypatch.setattr("ctgkit.check.sensor.rig.COMES_WITHIN_S", 0.1)

    async def judged():
        bench = SensorBench(0.01, None, None)
        async with bench.serving("127.0.0.1", free_port()):
            return await run_checks(bench, QUICK)

    found = asyncio.run(judged())
    assert exit_code(found, strict=False) == 1
    assert {v.outcome for v in found if "control" not in v.check.needs} == {"not judged"}


def test_the_sensor_that_was_started_is_stopped_at_sigterm(tmp_path):
    """Not left behind; and it is started where the checker itself listens."""
    listen = f"127.0.0.1:{free_port()}"
    told = "import os,pathlib,time;pathlib.Path('pid').write_text(f'{os.getpid()}\\n');"
    command = shlex.join([sys.executable, "-c", told + "time.sleep(600)"])
    with started(
        *(sys.executable, "-m", "ctgkit", "check", "sensor"),
        *("--listen", listen, "--run", command),
        cwd=tmp_path,
    ) as checking:
        deadline_s = time.monotonic() + 60
        while not (pid := tmp_path / "pid").exists() or not pid.read_text().endswith("\n"):
            assert checking.poll() is None, checking.stderr.read()
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        checking.terminate()
        said = checking.communicate(timeout=60)[1]
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_wait_says_how_long_the_first_sample_may_take():
    bench = SensorBench(3.0, None, None, wait_s=0.1)
    async with bench.serving("127.0.0.1", free_port()):
        found = await run_checks(bench, [SENSOR.checks["S-1.1/dials"]])
    assert [v.outcome for v in found] == ["not judged"]


@pytest.mark.slow
def test_our_own_sensor_passes(tmp_path):
    """As a process that the checker starts, with its control address."""
    token = tmp_path / "token.txt"
    own, secret = next(iter(TOKENS.items()))
    token.write_text(secret)
    port, control = free_port(), free_port()
    sensor = shlex.join(
        [
            *(sys.executable, "-m", "ctgkit", "sensor", "--sensor-id", own),
            *("--url", f"ws://127.0.0.1:{port}/ws/sensor", "--token-file", str(token)),
        ]
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ctgkit", "check", "sensor", "--strict", "--json"),
            *("--listen", f"127.0.0.1:{port}", "--run", sensor),
        ],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["counts"]["pass"] == len(SENSOR.checks) - 2, control


REQUEST = (
    "GET /ws/sensor?sensor_id=a HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_sensor_that_dials_before_the_closing_has_ended_is_seen():
    """It answers the close frame only after its next connection stands."""
    bench, port = SensorBench(3.0, None, None), free_port()

    async def dialled():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST.format(port).encode())
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async with bench.serving("127.0.0.1", port), asyncio.TaskGroup() as tasks:
        reader, writer = await dialled()
        closing = tasks.create_task(bench.close(4409))
        assert (await reader.readexactly(4))[0] == 0x88
        _, other = await dialled()
        writer.write(b"\x88\x82\0\0\0\0" + (4409).to_bytes(2, "big"))
        visit = await bench.comes_again(0.0, "after 4409", await closing)
        assert visit is bench.visits[1]
        for each in (writer, other):
            each.close()
