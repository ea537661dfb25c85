"""``--jobs``: what many processes make is what one makes, in the same order."""

import contextlib
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctgkit.cli.jobs import AHEAD, LostProcess, in_order
from ctgkit.errors import RecordingError

DEADLINE_S = 60.0


def halved(number):
    """Return half of an even number."""
    if number % 2:
        raise RecordingError(f"{number}.csv", number, "is odd")
    return number // 2


def test_results_come_in_the_order_of_the_things():
    things = list(range(0, 40, 2))
    assert list(in_order(halved, things, 2)) == list(range(20))


def test_an_error_is_raised_where_it_belongs_and_whole():
    results = in_order(halved, [2, 4, 5, 6], 2)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(RecordingError, match=r"5.csv, line 5: is odd"):
        next(results)


def killed(_):
    """Do what the system does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def begin_a_file(folder, number):
    """Take ages over a file, and remove it when told to stop; the first thing is done at once."""
    if number == 0:
        return number
    path = folder / str(number)
    try:
        path.touch()
        time.sleep(2 * DEADLINE_S)
    finally:
        path.unlink(missing_ok=True)


def swallow_and_begin(folder, number):
    """Lose what breaks it off, once, as callbacks of weak references do."""
    if number == 0:
        return number
    (folder / f"first-{number}").touch()
    with contextlib.suppress(BaseException):
        time.sleep(2 * DEADLINE_S)
    (folder / f"first-{number}").unlink()
    return begin_a_file(folder, number)


def until(condition):
    """Wait for something to become true."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_process_that_is_killed_is_one_line_not_a_hang():
    with pytest.raises(LostProcess, match="was killed"):
        list(in_order(killed, [1, 2, 3, 4, 5, 6], 2))


class Taken(list):
    """Things that know how many were taken."""

    n = 0

    def __iter__(self):
        for thing in super().__iter__():
            self.n += 1
            yield thing


def test_results_that_wait_are_bounded():
    """However many things there are: those of a day of a thousand sensors don't fit into memory."""
    things = Taken(range(0, 200, 2))
    with contextlib.closing(in_order(halved, things, 2)) as results:
        assert next(results) == 0
        assert things.n == 2 * AHEAD + 1


@pytest.mark.parametrize("begin", [begin_a_file, swallow_and_begin])
def test_who_stops_early_breaks_off_work_and_leaves_nothing(tmp_path, begin):
    work = functools.partial(begin, tmp_path)
    results = in_order(work, [0, 1, 2, 3, 4, 5, 6], 2)
    assert next(results) == 0
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    began_s = time.monotonic()
    results.close()
    assert time.monotonic() - began_s < DEADLINE_S  # what it sleeps is twice that
    assert not list(tmp_path.iterdir())


def test_processes_that_get_sigterm_clean_up_and_end(tmp_path):
    """A supervisor may send it to all of a group; one of them that it misses ends too."""
    others = set(multiprocessing.active_children())
    results = in_order(functools.partial(begin_a_file, tmp_path), [0, 1, 2, 3, 4, 5, 6], 2)
    assert next(results) == 0
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    (set(multiprocessing.active_children()) - others).pop().terminate()
    with pytest.raises(LostProcess):
        next(results)
    assert not list(tmp_path.iterdir())
    assert not set(multiprocessing.active_children()) - others


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_end_with_the_one_that_began_them(tmp_path):
    """Killed, it cannot tell them."""
    out = ("--duration", "480h", "--out", tmp_path / "s.csv")
    command = [sys.executable, "-m", "ctgkit", "generate", "--sensors", "4", "--jobs", "2", *out]
    parent = subprocess.Popen(command, start_new_session=True)
    group = Path("/proc", str(parent.pid), "task", str(parent.pid), "children")
    try:
        until(lambda: len(group.read_text().split()) >= 3)  # with the one that cleans up after them
        children = [Path("/proc", pid) for pid in group.read_text().split()]
        parent.kill()
        until(lambda: not any(map(is_running, children)))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def is_running(process):
    """Return whether there is a process that isn't only kept for whoever asks how it ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_files_reports_and_scores_are_the_same(tmp_path):
    def ctgkit(*arguments):
        command = [sys.executable, "-m", "ctgkit", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    said = {}
    for jobs in ("1", "2"):
        folder = tmp_path / jobs
        where = ("--out", f"{jobs}/s.csv", "--truth", f"{jobs}/s.jsonl", "--jobs", jobs)
        ctgkit("generate", "--sensors", "3", "--duration", "20min", *where)
        files = sorted(file.name for file in folder.iterdir())
        made = [(folder / name).read_bytes() for name in files]
        reports = ctgkit("analyze", f"{jobs}/s-0.csv", f"{jobs}/s-2.csv", "--json", "--jobs", jobs)
        said[jobs] = files, made, reports, ctgkit("score", jobs, "--json", "--jobs", jobs)
    assert said["1"] == said["2"]
    assert len(said["1"][2].splitlines()) == 2
