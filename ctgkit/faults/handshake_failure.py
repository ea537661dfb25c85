"""Connections that don't come about."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Impairment, NetworkFault


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeFailure(NetworkFault):
    """The opening handshake is cut off in its middle."""

    kind: ClassVar[str] = "handshake_failure"
    opens: ClassVar[bool] = True

    def impair(self, u: float) -> Impairment:
        """Cut it off."""
        return Impairment(refuses=True)
