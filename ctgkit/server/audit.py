"""The audit log: who came, who was refused, what was configured, which examinations there were.

One JSON object per line, appended, never rewritten; no tokens, no measured values. The live path
hands a line over and goes on; a thread writes it. A full disk costs lines, which are counted, and a
flood of events is thinned, so that nobody can fill the disk from outside.
"""

import asyncio
import errno
import json
import logging
import os
import time
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from ctgkit import __version__
from ctgkit.clock import utc_timestamp
from ctgkit.errors import ConfigError, excerpt
from ctgkit.server.settings import BackendSettings, without_password
from ctgkit.wire import SENSOR_ID_PARAMETER

log = logging.getLogger(__name__)

QUEUE_MAX_LINES = 20_000
"""Lines that wait for the disk; what comes then is lost and counted. Chosen: some 4 MB."""
BURST_LINES, LINES_PER_S = 10_000, 10.0
"""How many events of one kind are written at once, and how many per second in the long run: all
sensors of the largest fleet may reconnect together, and nobody writes more than 200 MB a day."""
REFUSED_BURST_LINES, REFUSED_PER_S = 200, 1.0
"""The same for refusals, which cost whoever causes them nothing: 20 MB a day."""


class Throttle:
    """Lets a burst pass, then so many per second; counts what it holds back.

    >>> throttle = Throttle(burst=1, per_s=1.0)
    >>> [throttle.passes(at_s) for at_s in (0.0, 0.1, 0.2, 1.5)], throttle.suppressed
    ([True, False, False, True], 2)
    """

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left, self._at_s = burst, 0.0
        self.suppressed = 0

    def passes(self, at_s: float) -> bool:
        """Return whether an event at a (monotonic) time, seconds, may pass."""
        self._left = min(self._burst, self._left + (at_s - self._at_s) * self._per_s)
        self._at_s = at_s
        if self._left < 1:
            self.suppressed += 1
            return False
        self._left -= 1
        return True


class AuditLog:
    """An audit log, or none.

    Parameters
    ----------
    path : Path or None
        Made when missing, for its owner only. None: nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = -1
        self._lines: list[bytes] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._throttles: dict[str, Throttle] = defaultdict(
            lambda: Throttle(BURST_LINES, LINES_PER_S),
            refused=Throttle(REFUSED_BURST_LINES, REFUSED_PER_S),
        )
        self.counts = Counter(written=0, suppressed=0, lost=0)
        """Lines: written; held back in a flood; lost because the disk didn't take them."""
        self._untold = 0
        """Lines lost since the last one that was written."""
        self._torn = False
        """Whether the file ends with a piece of a line."""
        if path is not None:
            try:
                self._reopen(path)
            except OSError as error:
                raise ConfigError(f"--audit-log {path}", error.strerror or str(error)) from error

    def note(self, event: str, **details: Any) -> None:
        """Hand one event over; never waits, never fails."""
        if self._path is None:
            return
        throttle = self._throttles[event]
        if not throttle.passes(time.monotonic()):
            self.counts["suppressed"] += 1
            return
        if throttle.suppressed:
            details["suppressed_before"] = throttle.suppressed
            throttle.suppressed = 0
        self._append({"event": event, **details})

    def _append(self, content: dict[str, Any]) -> None:
        if len(self._lines) >= QUEUE_MAX_LINES:
            self._lose(1)
        else:
            self._lines.append(_line(content))
            self._wake.set()

    async def run(self) -> None:
        """Write what is handed over until :meth:`stop`, then what is left."""
        while not (self._closing and not self._lines):
            await self._wake.wait()
            self._wake.clear()
            lines, self._lines = self._lines, []
            if told := self._untold:
                lines.insert(0, _line({"event": "lost", "n": told}))
            try:
                await asyncio.to_thread(self._write, b"".join(lines))
            except OSError as error:
                if not told:
                    log.error("audit log not written, its lines are lost: %s", error)
                self._lose(len(lines) - bool(told))  # the line that tells of it is no loss
            else:
                self.counts["written"] += len(lines)
                self._untold -= told
        if self._file >= 0:
            os.close(self._file)

    def stop(self) -> None:
        """Let :meth:`run` return when everything is written."""
        self.note("stopped")
        for kind, throttle in self._throttles.items():
            if throttle.suppressed:
                self._append({"event": "suppressed", "kind": kind, "n": throttle.suppressed})
        self._closing = True
        self._wake.set()

    def _lose(self, n: int) -> None:
        self.counts["lost"] += n
        self._untold += n

    def _write(self, text: bytes) -> None:
        """Append some lines, in a thread."""
        if self._path is None or not text:
            return
        if not self._is_current(self._path):
            self._reopen(self._path)
        if self._torn:
            text = b"\n" + text
        written = os.write(self._file, text)
        self._torn = (self._torn and not written) or 0 < written < len(text)
        if written < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _is_current(self, path: Path) -> bool:
        """Return whether the open file is still the one of that name: logrotate renames it."""
        try:
            return os.path.samestat(os.fstat(self._file), path.stat())
        except FileNotFoundError:
            return False

    def _reopen(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        fresh = os.open(path, flags, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file = fresh


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps({"at": utc_timestamp(), **content}).encode() + b"\n"


def asked_for(target: str) -> dict[str, Any]:
    """Return what a refused request asked for: no query, in which somebody may have put a token.

    >>> asked_for("/ws/sensor?sensor_id=0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d11&token=x")
    {'path': '/ws/sensor', 'claims': '0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d11'}
    """
    path, _, query = target.partition("?")
    claims = parse_qs(query).get(SENSOR_ID_PARAMETER, [""])[0]
    try:
        claimed = {"claims": str(uuid.UUID(claims))}
    except ValueError:
        claimed = {}
    return {"path": excerpt(path), **claimed}


def configuration(settings: BackendSettings) -> dict[str, Any]:
    """Return what the log says about how a backend runs: everything but the secrets."""
    shown = [without_password(url) for url in settings.ml_urls]
    return {
        "version": __version__,
        "pid": os.getpid(),
        "host": settings.host,
        "port": settings.port,
        "database": str(settings.database),
        "ml": shown[0] if len(shown) == 1 else shown or None,
        "ml_format": settings.ml_format,
        "grace_s": settings.grace_s,
        "handover_s": settings.handover_s,
        "keep_results": settings.keep_results,
        "durability": settings.durability,
        "hosts": sorted(settings.hosts),
        "origins": sorted(settings.origins),
        "viewers_show_token": settings.viewer_token is not None,
        "tls": settings.tls is not None,
        "max_connections": settings.max_connections,
        "max_rate_hz": settings.max_rate_hz,
        "sensors": [{"id": s.id, "bed": s.bed, "control": s.control} for s in settings.sensors],
    }
