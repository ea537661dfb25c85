"""The view on a real terminal (a pseudo-terminal), driven with keys."""

import asyncio
import logging
import math
import os
import pty
import re
import signal
import sys
import termios
from contextlib import asynccontextmanager

from ctgkit.watch.live import held_logs
from tests.ports import free_port
from tests.watch.backend import OTHER, Backend, frame, until

PAST = [frame(n / 4, 140 + 10 * math.sin(n / 30), 15.0) for n in range(400)]


class Terminal:
    """What a program wrote to a pseudo-terminal, row by row, and keys for it."""

    def __init__(self, fd):
        self.fd = fd
        self.raw = ""
        self.rows = {}

    def read(self):
        try:
            self.raw += os.read(self.fd, 65536).decode("utf-8", "replace")
        except OSError:  # the program has ended
            self.stop_reading()
        for row, text in re.findall(r"\x1b\[(\d+);1H((?:(?!\x1b\[\d+;1H).)*)", self.raw):
            self.rows[int(row)] = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)

    def start_reading(self):
        asyncio.get_running_loop().add_reader(self.fd, self.read)

    def stop_reading(self):
        asyncio.get_running_loop().remove_reader(self.fd)

    def resize(self, width, height):
        self.rows.clear()
        self.raw = ""
        termios.tcsetwinsize(self.fd, (height, width))

    def type(self, keys):
        self.raw = ""
        os.write(self.fd, keys)

    def shows(self, text, row=None):
        rows = self.rows.values() if row is None else [self.rows.get(row, "")]
        return any(text in shown for shown in rows)

    async def until(self, text, row=None):
        await until(lambda: self.shows(text, row), lambda: f"{text!r} in {self.rows}")


@asynccontextmanager
async def watching(*arguments, cwd=None, **environment):
    """Run ``ctgkit watch`` on a terminal of 80x24; gives the process and the terminal."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(master, (24, 80))
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ctgkit", "watch", *arguments,
        stdin=slave, stdout=slave, stderr=slave, cwd=cwd, start_new_session=True,
        env={**plain, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(slave)
    terminal = Terminal(master)
    terminal.start_reading()
    try:
        yield process, terminal
    finally:
        terminal.stop_reading()
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(master)


async def test_a_session_with_keys(tmp_path):
    """Starts full, pauses, goes on, changes paper, helps, saves, resizes, quits cleanly."""
    backend = Backend(*PAST)
    async with (
        backend.serving() as url,
        watching("--backfill", "100", url, cwd=tmp_path) as (process, terminal),
    ):
        await terminal.until("0:01:39", row=1)
        assert backend.queries == [("/ws", {"backfill": ["100"]})]
        terminal.type(b" ")
        await terminal.until("PAUSED", row=1)
        await backend.send(frame(101.0))
        terminal.type(b"\x1b[D")
        await terminal.until("0:00:39", row=1)
        terminal.type(b"n")
        await terminal.until("0:01:41", row=1)
        terminal.type(b"p")
        await terminal.until("2 cm/min", row=1)
        terminal.type(b"?")
        await terminal.until("acknowledge alarms")
        terminal.type(b"x")
        await terminal.until("FHR ", row=2)
        terminal.resize(40, 12)
        await terminal.until("Test tool", row=12)
        terminal.type(b"s")
        await terminal.until("saved ctgkit-3f2a91c0-", row=12)
        assert next(tmp_path.glob("*.svg")).read_text().startswith("<svg")
        terminal.type(b"q")
        assert await process.wait() == 0
        await until(lambda: terminal.raw.endswith("\x1b[?25h\x1b[?1049l"), lambda: terminal.raw)


async def test_a_slow_terminal_gets_the_whole_screen():
    """A terminal that takes nothing for a while has every row afterwards."""
    async with Backend(*PAST).serving() as url, watching(url) as (_, terminal):
        await terminal.until("0:01:39", row=1)
        terminal.stop_reading()
        terminal.resize(300, 80)
        terminal.type(b"t")
        await asyncio.sleep(0.5)
        terminal.start_reading()
        await terminal.until("Test tool", row=80)
        await until(lambda: set(terminal.rows) == set(range(1, 81)), lambda: terminal.rows)


async def test_many_sensors_in_a_grid():
    """g shows all, a digit picks one."""
    backend = Backend(*PAST[:40], *(frame(n / 4, 150.0, sensor_id=OTHER) for n in range(40)))
    async with backend.serving() as url, watching(url) as (_, terminal):
        await terminal.until("1/2", row=1)
        terminal.type(b"g")
        await terminal.until("2 7be10d55")
        terminal.type(b"2")
        await terminal.until("2/2 7be10d55", row=1)


async def test_alarm_until_acknowledged():
    """The alarm outlives its cause and goes with the key."""
    low = [frame(n / 4, 95.0 if n < 160 else 140.0) for n in range(240)]
    async with Backend(*low).serving() as url, watching(url) as (_, terminal):
        await terminal.until("FHR below 110 (over) since 0:00:00", row=5)
        terminal.type(b"a")
        await terminal.until("no alarms", row=5)


async def test_waits_for_a_backend_and_survives_its_restart():
    """On a terminal nobody gives up: the reason is shown until it works."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with watching(url) as (process, terminal):
        await terminal.until("reconnecting (1)", row=1)
        async with Backend(*PAST[:40]).serving(port):
            await terminal.until("● live", row=1)
            await terminal.until("0:00:09", row=1)
        await terminal.until("reconnecting", row=1)
        async with Backend(frame(20.0)).serving(port):
            await terminal.until("0:00:20", row=1)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    assert "Traceback" not in terminal.raw


async def test_no_color():
    """With NO_COLOR the screen has attributes and no colours."""
    async with Backend(*PAST).serving() as url, watching(url, NO_COLOR="1") as (_, terminal):
        await terminal.until("0:01:39", row=1)
        assert "\x1b[1m" in terminal.raw
        assert not re.search(r"\x1b\[(?:\d+;)*[34][0-9](?:;[0-9;]+)?m", terminal.raw)


async def test_duration_ends_the_view():
    """A script can bound it."""
    async with (
        Backend(*PAST[:4]).serving() as url,
        watching("--duration", "0.5", url) as (process, _),
    ):
        assert await process.wait() == 0


async def test_termination_gives_the_terminal_back():
    """SIGTERM ends the view as q does, and the terminal echoes again."""
    async with Backend(*PAST[:40]).serving() as url, watching(url) as (process, terminal):
        await terminal.until("0:00:09", row=1)
        assert not termios.tcgetattr(terminal.fd)[3] & termios.ECHO
        process.terminate()
        assert await process.wait() == 0
        assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO
        await until(lambda: terminal.raw.endswith("\x1b[?1049l"), lambda: terminal.raw)


def test_logs_wait_for_the_end(caplog):
    """While the screen is taken, warnings go to the footer; at the end all lines are logged."""
    lines = []
    with caplog.at_level(logging.INFO):
        with held_logs(lines.append):
            logging.getLogger("x").info("quiet")
            logging.getLogger("x").warning("loud")
            assert caplog.messages == []
        assert lines == ["loud"]
        assert caplog.messages == ["quiet", "loud"]
