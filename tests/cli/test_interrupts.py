"""Ctrl-C and SIGTERM end a command wherever they come, and nothing of it stays."""

import os
import random
import signal
import sys
import time

import pytest

from ctgkit.cli.streams import whole_or_not
from tests.programs import started

CTGKIT = (sys.executable, "-m", "ctgkit")
DEADLINE_S = 60.0
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

HOSTILE = """
import signal, sys, time, weakref

signal.signal(signal.SIGINT, signal.default_int_handler)
number, how, module = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.argv = ["ctgkit", *sys.argv[4:]]

class Thing:
    pass

def called_back(_):
    signal.raise_signal(number)

class Finder:
    def find_spec(name, *_):
        if name != module:
            return None
        sys.meta_path.remove(Finder)
        if how == "callback":
            thing = Thing()
            kept = weakref.ref(thing, called_back)
            del thing
        try:
            if how != "callback":
                signal.raise_signal(number)
        except BaseException as error:
            if how == "converted":
                raise RuntimeError("Error calling __set_name__") from error
        if how == "file":
            raise OSError("nothing can be read now")
        while how != "at the end":
            time.sleep(0.01)

sys.meta_path.insert(0, Finder)
from ctgkit.__main__ import main

main()
"""
"""Swallows what a signal raises while a module is imported, as Python and libraries may."""

LINES = {
    "--help": "ctgkit.cli.logs",
    "analyze in.csv": "ctgkit.analysis.report",
    "convert in.csv out.edf": "ctgkit.recording",
    "generate --out s.csv": "ctgkit.simulate.library",
    "inspect in.csv": "ctgkit.recording.inspect_command",
    "paper in.csv --out p.pdf": "ctgkit.paper.command",
    "scenario list": "ctgkit.simulate.library",
    "score": "ctgkit.score.command",
    "serve": "ctgkit.net.eventloop",
    "watch --json http://127.0.0.1:9": "ctgkit.watch.command",
}
"""Command line -> what it imports."""


def ending(*command, **how):
    with started(sys.executable, *command, **how) as process:
        said = process.communicate(timeout=DEADLINE_S)
        return process.returncode, *said


def hostile(number, how, module, line, folder):
    return ending("-c", HOSTILE, int(number), how, module, *line.split(), cwd=folder)


@pytest.mark.parametrize("line", LINES)
def test_what_swallows_an_interrupt_does_not_keep_it(tmp_path, line):
    """The command would go on for ever."""
    code, out, err = hostile(signal.SIGINT, "callback", LINES[line], line, tmp_path)
    assert (code, out, err.strip()) == (130, "", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("how", ["callback", "silently", "converted", "file"])
def test_whatever_becomes_of_it_the_exit_code_is_the_signals(tmp_path, how, number):
    line = "inspect in.csv"
    code, out, err = hostile(number, how, LINES[line], line, tmp_path)
    assert (code, out, err.strip()) == (CODES[number], "", "")


@pytest.mark.parametrize("number", CODES)
def test_one_that_is_lost_until_the_work_is_done_is_told(tmp_path, number):
    """Too late to end it: all is there, and the exit code isn't 0."""
    line = "scenario list"
    code, _, err = hostile(number, "at the end", LINES[line], line, tmp_path)
    assert code == CODES[number]
    assert "Traceback" not in err


AT_THE_END = """
import atexit, signal, sys
from ctgkit.interrupts import ended

def raising(*numbers):
    for number in numbers:
        signal.raise_signal(number)

atexit.register(raising, *map(int, sys.argv[2:]))
sys.exit(ended(lambda: raising(*map(int, sys.argv[1].split())) or 0))
"""


def test_a_signal_while_python_ends_is_told_by_the_code_alone():
    """And one more than one doesn't change what the first said."""
    number = int(signal.SIGINT)
    assert ending("-c", AT_THE_END, "", number) == (130, "", "")
    assert ending("-c", AT_THE_END, number, number) == (130, "", "")
    assert ending("-c", AT_THE_END, "") == (0, "", "")


def test_who_starts_it_deaf_is_obeyed():
    """As a shell that runs it in the background does, and nohup."""

    def deaf():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    assert ending("-c", AT_THE_END, int(signal.SIGINT), preexec_fn=deaf) == (0, "", "")


CLEANING = """
import signal, sys, time
from ctgkit import interrupts

interrupts.SAME_S = float(sys.argv[1])

def work():
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)  # as a terminal and `make` may both do
        time.sleep(3 * interrupts.AGAIN_S)
        print("cleaned", flush=True)

sys.exit(interrupts.ended(work))
"""


def test_a_second_one_at_once_is_the_same_wish_and_cleaning_up_goes_on():
    assert ending("-c", CLEANING, 600) == (130, "cleaned\n", "")


def test_a_later_one_ends_what_hangs_while_cleaning_up():
    code, out, err = ending("-c", CLEANING, 0)
    assert (code, out, err) == (130, "", "")


@pytest.mark.parametrize("number", CODES)
def test_a_command_that_waits_for_a_server_ends_in_order(number):
    """Its event loop runs, and it takes no signals itself."""
    with started(*CTGKIT, "watch", "--json", "http://127.0.0.1:9") as process:
        assert "trying again" in process.stderr.readline()
        process.send_signal(number)
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == CODES[number]
    assert "Traceback" not in said


CUT_OFF = """
import asyncio, signal
from ctgkit.interrupts import ended
from ctgkit.net.eventloop import run

async def main():
    loop = asyncio.get_running_loop()
    loop.call_soon(signal.raise_signal, signal.SIGINT)
    try:
        await asyncio.sleep(60)
    finally:
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

raise SystemExit(ended(lambda: run(main())))
"""


def test_what_is_cut_off_complains_of_nothing():
    """`check backend` showed tracebacks of requests that it was in the middle of."""
    with started(sys.executable, "-c", CUT_OFF) as process:
        said = process.communicate(timeout=DEADLINE_S)[1]
    assert (process.returncode, said) == (130, "")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, OSError])
def test_a_file_that_is_broken_off_goes_and_the_older_one_stays(tmp_path, kind):
    """Whatever writes it; pictures on paper and exports have no other care."""
    file = tmp_path / "trace.pdf"
    file.write_text("older")

    def broken_off():
        with whole_or_not(file) as held:
            held.write_text("half")
            raise kind

    with pytest.raises(kind):
        broken_off()
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    assert file.read_text() == "older"


@pytest.mark.chaos
@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("to", ["it", "group"])
@pytest.mark.parametrize(
    "line",
    [
        "--sensors 1000 --duration 4h --one-file --jobs 1 --out s.parquet",
        "--sensors 1000 --duration 4h --one-file --jobs 2 --out s.parquet",
        "--sensors 5000 --duration 10min --jobs 2 --out s.csv --truth t.jsonl",
    ],
)
def test_at_any_moment(tmp_path, line, to, number):
    """What the tests above make happen, and what nobody thought of."""
    moments = random.Random(f"{line}{to}{number}")
    for turn in range(10):
        folder = tmp_path / str(turn)
        folder.mkdir()
        with started(*CTGKIT, "generate", *line.split(), cwd=folder) as process:
            time.sleep(0.3 + moments.choice([0.3, 3.0]) * moments.random())
            if to == "it":
                process.send_signal(number)
            else:
                os.killpg(process.pid, number)
            _, said = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == CODES[number], said
            assert said.strip() == ""
            assert not list(folder.glob("unfinished-*"))
            assert is_gone(process.pid)


def is_gone(group):
    """Wait for the end of all processes that were started; one of Python's own ends last."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
