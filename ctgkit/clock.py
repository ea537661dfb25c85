"""Wall time as the wire writes it, and a monotonic clock that nobody stops."""

import time
from datetime import UTC, datetime

_REAL = (time.monotonic,)
"""In a tuple: what freezes clocks in tests replaces the names of modules, and looks no deeper."""


def utc_timestamp() -> str:
    """Return now as ISO 8601 in UTC with ``Z`` and milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def monotonic_s() -> float:
    """Return the machine's monotonic clock, seconds, even while a test has frozen the time."""
    return _REAL[0]()
