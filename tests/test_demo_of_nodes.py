"""``ctgkit demo --nodes``: a whole cluster on this machine, as its user sees it."""

import asyncio
import json
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.cluster import servers
from tests import postgres as own
from tests.flow.conftest import system

__all__ = ["system"]


def demo(*words):
    return CliRunner().invoke(cli, ["demo", "--nodes", "2", *words])


def test_without_the_database_server_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(servers, "_PATH", "")
    monkeypatch.setattr(servers.Path, "glob", lambda path, pattern: iter(()))
    error = demo().exception
    assert isinstance(error, servers.NotInstalled)
    assert error.exit_code == 2
    assert "initdb is not installed" in str(error)
    assert "apt-get install postgresql" in str(error)


def test_a_file_of_ones_own_is_no_database_of_nodes(tmp_path):
    done = demo("--store", str(tmp_path / "x.db"))
    assert done.exit_code == 2
    assert "cannot be combined with --store" in done.stderr


@pytest.fixture
def short_folder():
    """A place whose sockets have short names, and where a server without rights may be."""
    with tempfile.TemporaryDirectory(prefix="ctg-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.mark.slow
async def test_a_node_dies_and_nothing_happens(system, short_folder):
    """It kills some itself where nobody watches; what it started is gone at the end."""
    own.demand()
    words = ("demo", "--nodes", 3, "--sensors", 6, "--duration", 150, "--json")
    done = system.start(*words, env={"TMPDIR": str(short_folder)})
    assert await done.ended(120) == 0, done.err
    said = json.loads(done.out)
    assert said["complete"]
    assert said["sent"] == said["acked"] == said["stored"] == 6 * 600
    assert said["examinations"] == 6
    assert said["died"]
    assert said["died"][0]["all_seen_after_s"] < 10
    assert "Traceback" not in done.err
    assert list(short_folder.iterdir()) == []
    listed = await asyncio.to_thread(
        subprocess.run, ["ps", "-eo", "args"], capture_output=True, text=True, check=True
    )
    assert str(short_folder) not in listed.stdout


@pytest.mark.slow
async def test_it_ends_in_order_when_it_is_told_to(system):
    own.demand()
    running = system.start("demo", "--nodes", 2, "--no-watch", "--duration", "1h")
    while "died" not in running.err:
        assert running.running, running.err
        await asyncio.sleep(0.1)
    running.send(signal.SIGINT)
    assert await running.ended(60) == 0, running.err
    assert "complete" in running.out
