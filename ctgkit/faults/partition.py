"""Networks that are cut in two."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Impairment, NetworkFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(NetworkFault):
    """Nothing passes for a while, new connections neither; then what waited arrives."""

    kind: ClassVar[str] = "partition"
    for_s: float = number("for", "s", 0.01, 86400, 10, "How long.")

    def impair(self, u: float) -> Impairment:
        """Stall both directions."""
        return Impairment(breaks="partition", break_s=self.for_s)
