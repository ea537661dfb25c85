"""Ctrl-C and SIGTERM of a command: never lost, and told by the exit code, 128 and the signal.

What a signal's handler raises appears wherever the main thread happens to be, and some places
swallow it: callbacks of weak references (imports use them), destructors, libraries' C code. So it
is raised again and again until it is seen to be under way, which is when code that handles an
exception, ``finally`` and ``with`` included, runs because of it. A coroutine is cancelled instead.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

AGAIN_S = 0.1
"""Pause before what was raised is looked for."""
SAME_S = 1.0
"""What comes within this time of a signal that is being handled is the same wish: a terminal and a
program between it and us may both send one."""
BASE = 128
"""Exit code less the signal's number, as shells count."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C. Of a KeyboardInterrupt itself Python may recall at its end that it saw one."""


class Terminated(SystemExit):
    """SIGTERM."""


RAISED: dict[int, type[BaseException]] = {
    signal.SIGINT: Interrupted,
    signal.SIGTERM: Terminated,
}


class _State:
    """Of this process's main thread."""

    came = 0
    """Number of the first signal."""
    came_s = 0.0
    ours: Sequence[int] = ()
    """What isn't ignored because whoever started the process wanted that."""
    over = False
    held = False
    cancel: Callable[[], object] | None = None
    insisting: type[BaseException] | None = None


def ended(run: Callable[[], int]) -> int:
    """Run a command; return its exit code, or the one of the signal that ended it.

    From then on a signal ends the process at once.
    """
    try:
        try:
            sys.unraisablehook = _unraisable
            _State.ours = [n for n in RAISED if signal.getsignal(n) is not signal.SIG_IGN]
            listen()
            code = run()
        finally:
            _State.over = True
            leave_off()
    except BaseException as error:
        _State.over = True
        leave_off()
        if not _State.came:
            raise
        if not _is(error, *RAISED.values()):
            import logging

            logging.debug("ended by a signal", exc_info=True)
    return BASE + _State.came if _State.came else code


def listen() -> None:
    """Take the signals of a command, again where an event loop had them."""
    for number in _State.ours:
        signal.signal(number, _arrived)


def came() -> type[BaseException] | None:
    """Return what a signal that came asks for to be raised."""
    return RAISED.get(_State.came)


def _arrived(number: int, _frame: object) -> None:
    if _State.over:
        os._exit(BASE + number)
    again = bool(_State.came)
    if not again:
        _State.came, _State.came_s = number, time.monotonic()
    if _State.held:
        return
    if _State.cancel is not None:
        cancel, _State.cancel = _State.cancel, None
        cancel()
        return
    obeyed = _State.insisting is None or _under_way()  # None: it was cancelled
    if not (again and obeyed and time.monotonic() - _State.came_s < SAME_S):
        insist(RAISED[number])


def insist(error: type[BaseException]) -> None:
    """Raise an error in the main thread, until it is handled or :func:`leave_off` is called."""
    _State.insisting = error
    signal.signal(signal.SIGALRM, _look)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
    raise error


def leave_off() -> None:
    """Raise it no more."""
    if _State.insisting is not None:
        _State.insisting = None
        signal.setitimer(signal.ITIMER_REAL, 0)


def _look(*_: object) -> None:
    if _State.insisting is not None and not _State.held and not _under_way():
        raise _State.insisting


def _under_way() -> bool:
    """Return whether an exception is being handled that is ours, or was caused by ours."""
    return _State.insisting is not None and _is(sys.exception(), _State.insisting)


def _is(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    chain, seen = [error], set()
    while chain:
        one = chain.pop()
        if isinstance(one, kinds):
            return True
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            chain += [one.__cause__, one.__context__]
    return False


def _unraisable(what: Any) -> None:
    """Say nothing of ours where it is swallowed: it is raised again."""
    if not _is(what.exc_value, *RAISED.values()):
        sys.__unraisablehook__(what)


@contextmanager
def held() -> Iterator[None]:
    """Let the block finish first; processes that it starts are not interrupted by a terminal."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    before = _State.came
    _State.held = True
    try:
        yield
    finally:
        _State.held = False
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if _State.came and not before:
            insist(RAISED[_State.came])


@contextmanager
def cancelling(cancel: Callable[[], object]) -> Iterator[None]:
    """Call *cancel* at the first signal, instead of raising, while the block runs.

    A block that ends without an exception has decided for itself what to make of it.
    """
    _State.cancel = cancel
    try:
        yield
    finally:
        called, _State.cancel = _State.cancel is None, None
    if called:
        _State.came = 0
