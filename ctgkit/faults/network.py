"""Faults of the network: slow, narrow, cut or half-dead connections.

This module performs no I/O.
"""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Impairment, NetworkFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(NetworkFault):
    """Everything takes longer; the order stays."""

    kind: ClassVar[str] = "latency"
    by_s: float = number("by", "s", 0, 60, 0.2, "How much longer.")
    jitter_s: float = number("jitter", "s", 0, 60, 0, "Up to this much more, at random.")

    def impair(self, u: float) -> Impairment:
        """Hold what is written."""
        return Impairment(hold_s=self.by_s + u * self.jitter_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth(NetworkFault):
    """Only so many bytes pass per second."""

    kind: ClassVar[str] = "bandwidth"
    bytes_per_s: float = number("bytes_per_s", "/s", 1, 1e9, 1000, "Bytes per second.")

    def impair(self, u: float) -> Impairment:
        """Let bytes through one after the other."""
        return Impairment(bytes_per_s=self.bytes_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(NetworkFault):
    """The connection is reset (TCP RST) before the message is sent."""

    kind: ClassVar[str] = "reset"

    def impair(self, u: float) -> Impairment:
        """Tear it down."""
        return Impairment(breaks="reset")


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOpen(NetworkFault):
    """Nothing passes any more, in either direction, and neither side is notified."""

    kind: ClassVar[str] = "half_open"
    for_s: float = number("for", "s", 0.01, 86400, 300, "Then the connection is reset.")

    def impair(self, u: float) -> Impairment:
        """Swallow everything."""
        return Impairment(breaks="half_open", break_s=self.for_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowClose(NetworkFault):
    """The closing handshake, or the answer to it, is held back."""

    kind: ClassVar[str] = "slow_close"
    opens: ClassVar[bool] = True
    by_s: float = number("by", "s", 0, 600, 5, "How long.")

    def impair(self, u: float) -> Impairment:
        """Hold the close."""
        return Impairment(close_hold_s=self.by_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeFailure(NetworkFault):
    """The opening handshake is cut off in its middle."""

    kind: ClassVar[str] = "handshake_failure"
    opens: ClassVar[bool] = True

    def impair(self, u: float) -> Impairment:
        """Cut it off."""
        return Impairment(refuses=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(NetworkFault):
    """Nothing passes for a while, new connections neither; then what waited arrives."""

    kind: ClassVar[str] = "partition"
    for_s: float = number("for", "s", 0.01, 86400, 10, "How long.")

    def impair(self, u: float) -> Impairment:
        """Stall both directions."""
        return Impairment(breaks="partition", break_s=self.for_s)
