"""Run a command's coroutine on the fastest event loop at hand, until a signal ends it."""

import asyncio
import importlib.util
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from ctgkit.errors import CtgkitError

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* to its end, on uvloop where the ``fast`` extra is installed.

    Raises
    ------
    CtgkitError
        The first one, when tasks of a group failed with it: it explains itself.
    """
    factory = None
    if importlib.util.find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)
    except BaseExceptionGroup as group:
        ours: BaseException | None = group.subgroup(CtgkitError)
        while isinstance(ours, BaseExceptionGroup):
            ours = ours.exceptions[0]
        if ours is None:
            raise
        raise ours from group


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def first() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        loop.add_signal_handler(number, first)
    return stop
