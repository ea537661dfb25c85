"""Ports of servers that start again, or that somebody is told of before they start."""

import fcntl
import itertools
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

LOWEST, EACH, SHARES = 20_000, 400, 30
"""All below those that the kernel gives to clients, which would take them meanwhile. Each process
that tests has a share of its own: nobody else is given a port before it is used."""


def _own_share():
    """Return the first share that no other process here holds; ours it is until we end."""
    for share in ((os.getpid() + n) % SHARES for n in range(SHARES)):
        path = Path(tempfile.gettempdir(), f"ctgkit-tests-ports-{share}")
        with suppress(OSError):  # it is somebody else's
            fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                raise
            return share
    return os.getpid() % SHARES


_share = _own_share()
_ports = itertools.cycle(range(LOWEST + _share * EACH, LOWEST + (_share + 1) * EACH))


def free_port(count=1):
    """Return the first of *count* neighbouring ports that nobody listens on; others each time."""
    found = []
    for port in itertools.islice(_ports, 2 * EACH):
        if found and port != found[-1] + 1:
            found.clear()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found[0]
    raise AssertionError("no free port")
