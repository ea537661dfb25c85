"""A long way."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Impairment, NetworkFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(NetworkFault):
    """Everything takes longer; the order stays."""

    kind: ClassVar[str] = "latency"
    by_s: float = number("by", "s", 0, 60, 0.2, "How much longer.")
    jitter_s: float = number("jitter", "s", 0, 60, 0, "And up to so much more, at random.")

    def impair(self, u: float) -> Impairment:
        """Hold what is written."""
        return Impairment(hold_s=self.by_s + u * self.jitter_s)
