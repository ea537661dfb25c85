"""A network namespace for one node: one way to its sensors, another to its database."""

import contextlib
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_NEWNET = 0x40000000


class Place:
    """Two pairs of interfaces; the one to the database can be cut."""

    def __init__(self):
        self.name = f"ctgkit{os.getpid() % 100_000}"
        subnet = f"10.{200 + os.getpid() % 40}"
        self.network = f"{subnet}.2.0/24"
        self.database_address, self.node_address = f"{subnet}.2.1", f"{subnet}.1.2"
        self._near_address, self._far_address = f"{subnet}.1.1", f"{subnet}.2.2"
        self._sensors, self._database = (f"{side}{os.getpid() % 100_000}" for side in ("cs", "cd"))

    def open(self):
        _ip("netns", "add", self.name)
        for pair, here, there in (
            (self._sensors, self._near_address, self.node_address),
            (self._database, self.database_address, self._far_address),
        ):
            _ip("link", "add", pair, "type", "veth", "peer", "name", f"{pair}n", "netns", self.name)
            _ip("addr", "add", f"{here}/24", "dev", pair)
            _ip("link", "set", pair, "up")
            _ip("-n", self.name, "addr", "add", f"{there}/24", "dev", f"{pair}n")
            _ip("-n", self.name, "link", "set", f"{pair}n", "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def enter(self):
        """Move this process there."""
        with (Path("/var/run/netns") / self.name).open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def cut(self):
        """Let what is sent to the database vanish, and what it sends."""
        _ip("link", "set", self._database, "down")

    def mend(self):
        _ip("link", "set", self._database, "up")

    def close(self):
        for arguments in (("link", "del", self._sensors), ("link", "del", self._database),
                          ("netns", "del", self.name)):  # fmt: skip
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip(*arguments)


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def cut_off_place():
    """Make one; skip where that isn't allowed."""
    if shutil.which("ip") is None:
        pytest.skip("needs ip (iproute2)")
    place = Place()
    try:
        try:
            place.open()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        yield place
    finally:
        place.close()
