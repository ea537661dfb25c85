"""A NATS of our own for tests: on a free port, in its own process group, gone at the end."""

import shutil
import signal
import socket
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port

SERVER = shutil.which("nats-server", path="/usr/sbin:/usr/local/bin:/usr/bin:/bin")
needs_nats = pytest.mark.skipif(SERVER is None, reason="nats-server is not installed")


class Nats:
    """One nats-server."""

    def __init__(self, *options):
        self.port = free_port()
        self.options = options
        self.process = None
        self.start()

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def start(self):
        arguments = ["-a", "127.0.0.1", "-p", str(self.port), *self.options]
        self.process = subprocess.Popen(
            [SERVER, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with closing(socket.socket()) as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.kill()
        raise AssertionError("nats-server did not start")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


@contextmanager
def nats_server(*options):
    """Run a nats-server."""
    server = Nats(*(str(o) if isinstance(o, Path) else o for o in options))
    try:
        yield server
    finally:
        server.stop()
