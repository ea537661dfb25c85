"""Run a command's coroutine on the fastest event loop at hand, until a signal ends it."""

import asyncio
import errno
import importlib.util
import logging
import math
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from ctgkit import interrupts
from ctgkit.errors import CtgkitError

T = TypeVar("T")
log = logging.getLogger(__name__)

ACCEPT_LOG_EVERY_S = 10.0
"""Pause between lines that say that no connection can be accepted, seconds."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* to its end, on uvloop where the ``fast`` extra is installed.

    Until *main* takes them itself, Ctrl-C and SIGTERM cancel it.

    Raises
    ------
    CtgkitError
        The first one, when tasks of a group failed with it: it explains itself.
    KeyboardInterrupt
        When a second Ctrl-C cancelled *main*; see :class:`Interruption`.
    """
    whole = _cancellable(main)
    try:
        factory = None
        if importlib.util.find_spec("uvloop"):
            import uvloop

            factory = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.get_loop().set_exception_handler(_Complaints())
            return runner.run(whole)
    except _Interrupted:
        raise KeyboardInterrupt from None
    except asyncio.CancelledError:
        if (asked := interrupts.came()) is None:
            raise
        raise asked from None
    except BaseExceptionGroup as group:
        ours: BaseException | None = group.subgroup(CtgkitError) or group.subgroup(OSError)
        while isinstance(ours, BaseExceptionGroup):
            ours = ours.exceptions[0]
        if ours is None:
            raise
        raise ours from group
    finally:
        whole.close()  # where a signal came before it began
        main.close()
        interrupts.listen()


async def _cancellable(main: Coroutine[Any, Any, T]) -> T:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def cancel() -> None:
        task.cancel()
        loop.call_soon_threadsafe(lambda: None)  # wakes the loop

    with interrupts.cancelling(cancel):
        return await main


class _Complaints:
    """What the event loop complains of: one line where descriptors ran out.

    asyncio pauses accepting for a second then, but logs a traceback for each place in its backlog.
    """

    def __init__(self) -> None:
        self._silent_until_s = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, ValueError) and "._start_serving(" in str(context.get("handle")):
            return  # the pause was over after the listening socket had been closed
        if interrupts.came():  # tasks that were cut off complain that they were
            log.debug("%s", context.get("message"), exc_info=error)
        elif not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
            loop.default_exception_handler(context)
        elif loop.time() >= self._silent_until_s:
            self._silent_until_s = loop.time() + ACCEPT_LOG_EVERY_S
            log.error("cannot accept new connections for now: %s", error.strerror)


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


class _Interrupted(Exception):
    """A second Ctrl-C came."""


class Interruption:
    """A first signal that lets its block finish in order; a second Ctrl-C cancels that.

    An exception raised by the signal itself would be lost inside a callback of the loop, where
    uvloop takes it for a fault of the connection.

    Parameters
    ----------
    stop : callable
        Called once, at the first SIGTERM or SIGINT.

    Attributes
    ----------
    signal : signal.Signals or None
        What came, if anything.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.signal: signal.Signals | None = None
        self._stop = stop
        self._again = False

    def __enter__(self) -> Self:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._first, number)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._again and kind is asyncio.CancelledError:
            raise _Interrupted from None

    def _first(self, by: signal.Signals) -> None:
        self.signal = by
        self._loop.add_signal_handler(signal.SIGINT, self._second)  # before anybody is told of it
        self._stop()

    def _second(self) -> None:
        self._again = True
        if self._task is not None:
            self._task.cancel()
