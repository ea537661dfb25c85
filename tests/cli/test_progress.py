"""Progress on a terminal, after a moment; nothing elsewhere."""

import io
import os
import pty
import re
import select
from types import SimpleNamespace

import pytest

from ctgkit.cli import progress as module
from ctgkit.cli.progress import counted, progress


@pytest.fixture
def terminal(monkeypatch):
    """Let stderr be a terminal and time stand still; return what was written, and the clock."""
    master, slave = pty.openpty()
    now_s = [1000.0]
    theirs = os.fdopen(slave, "w")
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=theirs))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])

    def written():
        said = b""  # a terminal hands it on in pieces
        while select.select([master], [], [], 0.2)[0]:
            said += os.read(master, 1 << 20)
        return said.decode()

    yield written, now_s
    theirs.close()
    os.close(master)


def plain(text):
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_what_takes_a_moment_shows_nothing(terminal, caplog):
    written, now_s = terminal
    with caplog.at_level("INFO"), progress("converting", "recordings", 10) as advance:
        for _ in range(10):
            now_s[0] += 0.15
            advance(1)
    assert written() == ""


def test_what_takes_longer_tells_rate_and_rest(terminal, caplog):
    """And leaves the line clean."""
    written, now_s = terminal
    with caplog.at_level("INFO"), progress("exporting", "samples", 1000) as advance:
        for _ in range(30):
            now_s[0] += 0.1
            advance(20)
    shown = written()
    assert "exporting" in shown
    assert "200 samples/s" in shown
    assert "left" in shown
    assert shown.rstrip().endswith("\x1b[2K")


def test_what_is_said_meanwhile_gets_a_line_of_its_own(terminal, caplog, capsys):
    """Data go to stdout, which nothing replaces; the line is taken away and drawn again."""
    written, now_s = terminal
    with caplog.at_level("INFO"), progress("checking", "checks", 100) as advance:
        for n in range(6):
            now_s[0] += 1
            advance(1)
            if n == 3:
                assert "4/100" in plain(written())
                module.say("S-4.1 pass")
                assert written().endswith("\x1b[2K")
    assert "1.0 checks/s · 0:01:34 left" in plain(written())
    assert capsys.readouterr().out == "S-4.1 pass\n"


def test_without_a_terminal_nothing_is_written(monkeypatch):
    pipe = io.StringIO()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=pipe))
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    assert list(counted(range(5), "generating", "sensors", 5)) == [0, 1, 2, 3, 4]
    assert pipe.getvalue() == ""


def test_a_quiet_log_is_quiet_here_too(terminal, caplog):
    written, now_s = terminal
    with caplog.at_level("WARNING"), progress("exporting", "samples", 10) as advance:
        now_s[0] += 9
        advance(1)
    assert written() == ""
