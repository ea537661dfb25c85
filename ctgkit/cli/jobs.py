"""``--jobs``: the same work on many things, on several cores, with results in the things' order."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ctgkit.cli import logs
from ctgkit.cli.options import option
from ctgkit.cli.types import whole

T = TypeVar("T")
R = TypeVar("R")

JOBS_MAX = 256


def jobs_option(what: str) -> Any:
    """Return ``--jobs``; *what* is worked on, in the plural."""
    return option(
        "--jobs",
        type=whole("N", 1, JOBS_MAX),
        default=None,
        show_default="one per core",
        help=f"Processes that share the {what}; the results are the same.",
    )


def in_order(work: Callable[[T], R], things: Sequence[T], jobs: int | None) -> Iterator[R]:
    """Yield ``work(thing)`` of each thing, in order; errors are raised where they belong.

    Parameters
    ----------
    work : callable
        A function of a module, or a partial one: it is sent to other processes.
    things : sequence
        What there is to do.
    jobs : int or None
        How many processes; None: one per core that we may use. With one, or one thing to do, the
        work is done here.
    """
    jobs = min(jobs or _cores(), len(things))
    if jobs <= 1:
        yield from map(work, things)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    how = multiprocessing.get_context("spawn")  # a copy of threads that hold locks may hang
    log = (logging.getLogger().level, logs.FORMATS[logs.are_json()])
    with ProcessPoolExecutor(jobs, mp_context=how, initializer=_begin, initargs=log) as pool:
        yield from pool.map(work, things)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(level: int, log_format: str) -> None:
    """Prepare a process: it logs as its parent does, to which Ctrl-C is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=level, handlers=[logs.Lines(sys.stderr)])
    logs.use(log_format)
