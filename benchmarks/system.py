"""`ctgkit` processes for as long as a benchmark lasts, and what they stored."""

import asyncio
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

from tests.flow.processes import System


class Measured(System):
    """A system of processes that can say what it stored."""

    def stored(self, backend):
        """Stop the backend and return the number of its rows."""
        asyncio.run(backend.stopped(60))
        return self.query("SELECT count(*) FROM ctg")[0][0]


@contextmanager
def configured(sensors, directory=None):
    """Yield (system, credentials); what it runs ends with the context."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # what is started inherits it
    with tempfile.TemporaryDirectory(prefix="ctgkit-bench-", dir=directory) as path:
        system = Measured(Path(path))
        try:
            yield system, [(entry.id, entry.token) for entry in system.configure(sensors)]
        finally:
            system.end()


@contextmanager
def running(sensors, directory=None, ml="none"):
    """Yield (system, backend, credentials) of a backend that serves with full durability.

    *ml* is ``"none"``, ``"stub"`` for ``ctgkit ml``, or a URL.
    """
    with configured(sensors, directory) as (system, credentials):
        if ml == "stub":
            ml = asyncio.run(system.start("ml", "--port", 0, "-q").announced()).url
        room = ("--max-connections", sensors + 10)  # for viewers, beside them
        yield system, asyncio.run(system.serve("-q", *room, ml=ml).announced()), credentials
