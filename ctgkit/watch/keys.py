"""Keys of a terminal as names, without waiting for Enter."""

import asyncio
import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SEQUENCES = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1bOC": "right",
    b"\x1bOD": "left",
    b"\x1b[H": "home",
    b"\x1b[F": "end",
    b"\x1bOH": "home",
    b"\x1bOF": "end",
    b"\x1b[1~": "home",
    b"\x1b[4~": "end",
    b"\x1b[5~": "page_up",
    b"\x1b[6~": "page_down",
    b"\x1b[Z": "back_tab",
    b"\t": "tab",
    b"\r": "enter",
    b"\n": "enter",
}
_KEY = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.)|[^\x1b]", re.DOTALL)


def decode_keys(typed: bytes) -> list[str]:
    r"""Return the names of the keys behind *typed*; unknown sequences are left out.

    >>> decode_keys(b"q\x1b[C\x1b[6~\x1b[99~ \x1b")
    ['q', 'right', 'page_down', ' ']
    """
    names = []
    for key in _KEY.findall(typed):
        if key in _SEQUENCES:
            names.append(_SEQUENCES[key])
        elif len(key) == 1 and 0x20 <= key[0] < 0x7F:
            names.append(key.decode())
    return names


@contextmanager
def keys_pressed(on_key: Callable[[str], None]) -> Iterator[None]:
    """Call *on_key* for each key typed on stdin while the context lasts; no echo meanwhile.

    Without a terminal on stdin nothing is read. Ctrl-C stays a signal, Ctrl-Z is off.
    """
    if not sys.stdin.isatty():
        yield
        return
    # Opened anew: event loops make a file they watch non-blocking, and stdin is often the same
    # open file as stdout, which then loses what the terminal is too slow to take.
    fd = os.open(os.ttyname(sys.stdin.fileno()), os.O_RDONLY | os.O_NOCTTY)
    before = termios.tcgetattr(fd)
    loop = asyncio.get_running_loop()

    def read() -> None:
        typed = os.read(fd, 1024)
        if not typed:  # the terminal is gone
            loop.remove_reader(fd)
        for name in decode_keys(typed):
            on_key(name)

    tty.setcbreak(fd, termios.TCSADRAIN)  # keeps what was typed while it started
    own = termios.tcgetattr(fd)
    own[6][termios.VSUSP] = b"\0"  # Ctrl-Z would leave the shell on our screen
    termios.tcsetattr(fd, termios.TCSADRAIN, own)
    loop.add_reader(fd, read)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        os.close(fd)
