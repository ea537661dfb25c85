"""A narrow way."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Impairment, NetworkFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth(NetworkFault):
    """Only so many bytes pass per second."""

    kind: ClassVar[str] = "bandwidth"
    bytes_per_s: float = number("bytes_per_s", "/s", 1, 1e9, 1000, "How many.")

    def impair(self, u: float) -> Impairment:
        """Let bytes through one after the other."""
        return Impairment(bytes_per_s=self.bytes_per_s)
