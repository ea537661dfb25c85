"""Connections that don't end."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Impairment, NetworkFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowClose(NetworkFault):
    """The closing handshake, or the answer to it, is held back."""

    kind: ClassVar[str] = "slow_close"
    opens: ClassVar[bool] = True
    by_s: float = number("by", "s", 0, 600, 5, "How long.")

    def impair(self, u: float) -> Impairment:
        """Hold the close."""
        return Impairment(close_hold_s=self.by_s)
