"""A process under fire, and what must stay true of it whatever it is sent."""

import asyncio
import contextlib
import re
from urllib.parse import urlsplit

from tests.conftest import TIME_FACTOR

ANSWER_S = 8.0
"""How soon a peer that has said all it will is answered and let go, seconds."""
LINGER_S = 0.05
"""How long to wait for an answer before half-closing: one that half-closes at once gets none."""
GROWTH_MAX_BYTES = 64 << 20
LEAKS = re.compile(rb"Traceback|\.py\b|site-packages|See server log")
"""What no answer may contain: where our code is, and what broke in it."""


class Target:
    """A running ``ctgkit …`` and its address."""

    def __init__(self, process, url):
        self.process, self.url = process, url
        self.host = urlsplit(url).netloc
        self._address = urlsplit(url).hostname, urlsplit(url).port
        self._first_bytes = 0

    async def exchange(self, data, *, upgrade=b"", vanish=False):
        """Send bytes, wait a little, half-close (or vanish); read what comes back to the end."""
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            async with asyncio.timeout(ANSWER_S * TIME_FACTOR):
                with contextlib.suppress(ConnectionError):
                    if upgrade:
                        writer.write(upgrade)
                        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
                    writer.write(data)
                    if vanish:
                        writer.transport.abort()
                        return b""
                    answer = bytearray()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LINGER_S):
                            while chunk := await reader.read(65_536):
                                answer += chunk
                    writer.write_eof()
                    answer += await reader.read()
                    assert not LEAKS.search(answer), (data, answer)
                    return bytes(answer)
        except TimeoutError:
            raise AssertionError(f"never let go after {data!r}") from None
        finally:
            writer.close()

    async def under_fire(self, inputs, upgrade=b""):
        """Send all inputs at once, each on its own connection, after an upgrade if one is given."""
        async with asyncio.TaskGroup() as tasks:
            for number, data in enumerate(inputs):
                vanish = number % 8 == 7
                tasks.create_task(self.exchange(data, upgrade=upgrade, vanish=vanish))

    def assert_unharmed(self):
        """Assert that it lives, broke nowhere, and didn't grow."""
        assert self.process.running, self.process.err[-2_000:]
        err = self.process.err
        assert "Traceback" not in err, err[err.index("Traceback") - 300 :][:3_000]
        assert " ERROR " not in err, err[err.index(" ERROR ") - 300 :][:3_000]
        resident = resident_bytes(self.process.pid)
        self._first_bytes = self._first_bytes or resident
        assert resident < self._first_bytes + GROWTH_MAX_BYTES


def resident_bytes(pid):
    """Return how much memory a process holds."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
