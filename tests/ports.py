"""Ports of servers that start again, or that somebody is told of before they start."""

import itertools
import os
import socket
from contextlib import suppress

LOWEST, EACH, SHARES = 20_000, 400, 30
"""All below those that the kernel gives to clients, which would take them meanwhile. Each worker of
a test run has a share of its own: nobody else is given a port before it is used."""

_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
_share = (os.getppid() * 8 + int(_worker.removeprefix("gw")) if _worker else os.getpid()) % SHARES
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
