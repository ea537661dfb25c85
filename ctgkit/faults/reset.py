"""Connections that are torn down."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Impairment, NetworkFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(NetworkFault):
    """The connection is reset (TCP RST) before the message is sent."""

    kind: ClassVar[str] = "reset"

    def impair(self, u: float) -> Impairment:
        """Tear it down."""
        return Impairment(breaks="reset")
