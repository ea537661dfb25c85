"""Connections that died without a word."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Impairment, NetworkFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOpen(NetworkFault):
    """Nothing passes any more, in either direction, and nobody is told."""

    kind: ClassVar[str] = "half_open"
    for_s: float = number("for", "s", 0.01, 86400, 300, "Then the connection is reset.")

    def impair(self, u: float) -> Impairment:
        """Swallow everything."""
        return Impairment(breaks="half_open", break_s=self.for_s)
