"""``--jobs``: the same work on many things, on several cores, with results in the things' order."""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ctgkit import interrupts
from ctgkit.cli import logs
from ctgkit.cli.options import option
from ctgkit.cli.types import whole
from ctgkit.errors import CtgkitError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

T = TypeVar("T")
R = TypeVar("R")

JOBS_MAX = 256
AHEAD = 2
"""Things that are given to a process before their turn, and results of it that wait for theirs."""

IDLE_S = 1.0
"""How long a process that is told to end, and has no work, may take to send its last result."""


def jobs_option(what: str) -> Any:
    """Return ``--jobs``; *what* is worked on, in the plural."""
    return option(
        "--jobs",
        type=whole("N", 1, JOBS_MAX),
        default=None,
        show_default="one per core",
        help=f"Processes that share the {what}; the results are the same.",
    )


def in_order(
    work: Callable[[T], R], things: Sequence[T], jobs: int | None
) -> Generator[R, None, None]:
    """Yield ``work(thing)`` of each thing, in order; errors are raised where they belong.

    However many things there are, at most :data:`AHEAD` results per process wait in memory. Who
    stops early, by Ctrl-C or an error, waits for nothing: work under way is broken off, and removes
    what it had begun.

    Parameters
    ----------
    work : callable
        A function of a module, or a partial one: it is sent to other processes.
    things : sequence
        What there is to do.
    jobs : int or None
        How many processes; None: one per core that we may use. With one, or one thing to do, the
        work is done here.

    Raises
    ------
    LostProcess
        When a process is killed from outside, as the system does when memory runs out.
    """
    jobs = min(jobs or _cores(), len(things))
    if jobs <= 1:
        yield from map(work, things)
        return
    import multiprocessing
    from collections import deque
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    how = multiprocessing.get_context("spawn")  # a copy of threads that hold locks may hang
    log = (logging.getLogger().level, logs.FORMATS[logs.are_json()])
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, mp_context=how, initializer=_begin, initargs=log)
    waiting: deque[Future[R]] = deque()
    try:
        for thing in things:
            with interrupts.held():  # half a process would say so
                waiting.append(pool.submit(_one, work, thing))
            if len(waiting) > AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise LostProcess from error
    finally:
        if waiting:
            ours = set(multiprocessing.active_children()) - others
            threading.Thread(target=_break_off, args=(ours,), daemon=True).start()
        pool.shutdown(cancel_futures=True)


class LostProcess(CtgkitError):
    """One of the processes that shared the work is gone."""

    def __str__(self) -> str:
        return (
            "one of the processes that shared the work was killed, perhaps for want of memory:"
            " the file it wrote may be incomplete; fewer --jobs need less memory"
        )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _State:
    """Of this process, where it is one that works for another."""

    working = False
    breaking_off = False
    ending = False


class _BrokenOff(BaseException):
    """The work is no longer wanted."""


def _one(work: Callable[[T], R], thing: T) -> R:
    if _State.breaking_off:
        raise _BrokenOff
    _State.working = True
    try:
        return work(thing)
    finally:
        _State.working = False
        interrupts.leave_off()
        if _State.ending:
            os._exit(interrupts.BASE + signal.SIGTERM)


def _break_off(processes: "set[BaseProcess]") -> None:
    """Tell them until they are gone: one that was about to wait for something may not notice."""
    while left := [one for one in processes if one.is_alive()]:
        for one in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGUSR1)  # type: ignore[arg-type] # it was started
        time.sleep(interrupts.AGAIN_S)


def _breaking_off(number: int, _frame: object) -> None:
    """Stop the work, but never in the middle of sending a result; SIGTERM ends this process too."""
    again, _State.breaking_off = _State.breaking_off, True
    _State.ending |= number == signal.SIGTERM
    if _State.working and not again:
        interrupts.insist(_BrokenOff)
    elif _State.ending and not _State.working:
        threading.Timer(IDLE_S, os._exit, (interrupts.BASE + signal.SIGTERM,)).start()


def _begin(level: int, log_format: str) -> None:
    """Prepare a process: it logs as its parent does, to which Ctrl-C is left, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, _breaking_off)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=level, handlers=[logs.Lines(sys.stderr)])
    logs.use(log_format)


def _end_with_parent() -> None:
    """End this process when its parent was killed, which tells it nothing."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
