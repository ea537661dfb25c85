"""What happens to one sensor in a test: frames that it sends, and how its connections end.

This module performs no I/O. :func:`ctgkit.testing.strategies.histories` draws them,
:meth:`ctgkit.testing.sensor.Sensor.perform` performs them.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Send:
    """One frame, valid or not."""

    frame: str | bytes
    """Text goes as a text frame, bytes as a binary one."""
    secs: tuple[float, ...] = ()
    """Data times of the valid samples in it, seconds."""


@dataclass(frozen=True, slots=True)
class Part:
    """The end of the connection, if there is one."""

    how: Literal["leave", "drop", "again"]
    """Politely, without a word, or because the same sensor connects once more."""


@dataclass(frozen=True, slots=True)
class History:
    """Steps, in order."""

    steps: tuple[Send | Part, ...]

    @property
    def expected(self) -> list[float]:
        """Data times of all valid samples: these must arrive, and nothing else."""
        return [sec for step in self.steps if isinstance(step, Send) for sec in step.secs]
