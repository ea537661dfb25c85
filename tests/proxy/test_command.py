"""`ctgkit proxy` as a process: address, faults as lines of JSON, counts, exit codes."""

import json
import signal
import sys

import pytest
from click.testing import CliRunner
from websockets.sync.client import connect
from websockets.sync.server import serve

from ctgkit.cli.main import cli
from tests.programs import started


def run(*arguments):
    command = (sys.executable, "-m", "ctgkit", "proxy", "--listen", "127.0.0.1:0")
    return started(*command, *arguments)


@pytest.fixture
def target():
    """Serve an echo in a thread."""
    import threading

    with serve(lambda ws: [ws.send(m) for m in ws], "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
    thread.join()


def test_strikes_are_told_and_counted(target, tmp_path):
    """On stdout, on stderr and in the file; exit code 0."""
    out = tmp_path / "faults.jsonl"
    arguments = ("--to", target, "--json", "--out", out, "--fault", "duplicate:at=1")
    with run(*arguments) as proxy:
        address = json.loads(proxy.stdout.readline())["url"]
        with connect(f"{address}ws/sensor?sensor_id=A&token=hush") as client:
            for sec in (0.5, 1.5, 2.5):
                client.send(json.dumps({"secFromStart": sec}))
            heard = [json.loads(client.recv())["secFromStart"] for _ in range(4)]
        proxy.send_signal(signal.SIGINT)
        told, log = proxy.communicate(timeout=60)
    assert heard == [0.5, 1.5, 1.5, 2.5]
    strike, summary = map(json.loads, told.splitlines())
    assert strike == json.loads(out.read_text())
    assert strike.pop("clock").endswith("Z")
    assert strike == {
        "fault": "duplicate", "party": "/ws/sensor a", "direction": "up", "message": 1, "t_s": 1.5,
    }  # fmt: skip
    assert summary == {
        "connections": 1, "messages": {"up": 3, "down": 4}, "faults": {"duplicate": 1},
        "unreached": 0,
    }  # fmt: skip
    assert "duplicate, up message 1, data time 1.5 s" in log
    assert "hush" not in log
    assert proxy.returncode == 0


def test_a_full_disk_is_told_and_stops_nothing(target):
    """Messages pass on; the exit code is 1."""
    with run("--to", target, "--out", "/dev/full", "--fault", "duplicate") as proxy:
        with connect(proxy.stdout.readline().strip()) as client:
            client.send("a")
            assert [client.recv(), client.recv()] == ["a", "a"]
        proxy.send_signal(signal.SIGINT)
        _, log = proxy.communicate(timeout=60)
    assert "cannot write faults to /dev/full: No space left" in log
    assert "ctgkit: /dev/full: No space left on device" in log
    assert proxy.returncode == 1


def test_an_unreachable_target_is_3_and_silence_is_1():
    """Nobody listens at the target; nobody came."""
    with run("--to", "127.0.0.1:1") as proxy:
        address = proxy.stdout.readline().strip()
        with pytest.raises(Exception, match="502"):
            connect(address)
        proxy.send_signal(signal.SIGTERM)
        _, log = proxy.communicate(timeout=60)
    assert proxy.returncode == 3
    assert "ctgkit: ws://127.0.0.1:1/: could not be reached" in log
    with run("--to", "127.0.0.1:1", "--duration", "0.05") as silent:
        told, _ = silent.communicate(timeout=60)
    assert silent.returncode == 1
    assert told.splitlines()[1] == "0 connections; 0 messages up, 0 down; faults: none"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--listen", "x", "--to", "ws://a"], "'x' is not HOST:PORT"),
        (["--listen", "0", "--to", "ftp://a"], "ftp://a"),
        (
            ["--listen", "0", "--to", "a", "--out", "/nowhere/f"],
            "no such directory",
        ),
        (["--to", "a"], "Missing option '--listen'"),
    ],
)
def test_wrong_usage_is_2(arguments, complaint):
    done = CliRunner().invoke(cli, ["proxy", *arguments], prog_name="ctgkit")
    assert done.exit_code == 2
    assert complaint in done.output
