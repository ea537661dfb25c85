"""What a party's messages go through in `ctgkit proxy`, carried out on real connections."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ctgkit.clock import utc_timestamp
from ctgkit.faults.line import Deed
from ctgkit.net.impaired import Impaired
from ctgkit.net.relay import ClientEnd, Passage, Relay, ServerEnd, Visit
from ctgkit.net.relay import Party as Side
from ctgkit.proxy.parties import Parties, Party

log = logging.getLogger(__name__)


class ImpairedClientEnd(Impaired, ClientEnd):
    """The proxy's connection to the target, over a bad network."""


class ImpairedServerEnd(Impaired, ServerEnd):
    """A client's connection to the proxy, over a bad network."""


class Report:
    """What happened: counted, logged, and told to whoever wants each strike.

    Parameters
    ----------
    tell : callable
        Called with each strike of a fault as an object for JSON.
    """

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self.connections = 0
        self.unreached = 0
        """Times that the target could not be reached."""
        self.messages: Counter[str] = Counter()
        """By direction."""
        self.faults: Counter[str] = Counter()
        """Strikes by kind."""
        self._tell = tell

    def note(self, party: Party, deed: Deed) -> None:
        """Add a strike; of several on messages in a row the log has the first."""
        self.faults[deed.fault] += 1
        log.log(
            logging.DEBUG if deed.again else logging.INFO,
            "%s: %s, %s %s %d, data time %.10g s",
            party.name, deed.fault, deed.direction, deed.struck, deed.n, deed.t_s,
        )  # fmt: skip
        self._tell(
            {
                "clock": utc_timestamp(),
                "fault": deed.fault,
                "party": party.name,
                "direction": deed.direction,
                deed.struck: deed.n,
                "t_s": deed.t_s,
            }
        )


def faulty_relay(
    target: str, parties: Parties, report: Report
) -> Relay[ImpairedClientEnd, ImpairedServerEnd]:
    """Return a relay to *target* that applies faults and reports them."""
    return Relay(
        target,
        lambda visit: FaultyPassage(visit, parties, report),
        ImpairedClientEnd,
        ImpairedServerEnd,
    )


class FaultyPassage(Passage[ImpairedClientEnd, ImpairedServerEnd]):
    """Passes on what faults leave of the messages, over networks that they impair."""

    def __init__(self, visit: Visit, parties: Parties, report: Report) -> None:
        super().__init__(visit)
        self._parties, self._report = parties, report
        self._party = parties.come(visit.path)
        self._openings = [self._open(up=True), self._open(up=False)]

    def _open(self, *, up: bool) -> Any:
        party = self._party
        opening, deeds = (party.up if up else party.down).open(party.t_s)
        for deed in deeds:
            self._report.note(party, deed)
        return opening

    async def admit(self, client: ImpairedServerEnd) -> bool:
        """Wait while the network is partitioned; say no when the handshake fails."""
        await asyncio.sleep(self._party.heals_at_s - time.monotonic())
        return not any(opening.refuses for opening in self._openings)

    def refused(self, status: int, reason: str) -> None:
        """Count a target that isn't there."""
        if reason:
            self._report.unreached += 1

    def opened(self, client: ImpairedServerEnd, upstream: ImpairedClientEnd) -> None:
        """Begin."""
        super().opened(client, upstream)
        self._report.connections += 1
        log.info("connected: %s", self._party.name)
        upstream.network.open(self._openings[0])
        client.network.open(self._openings[1])

    async def carry(self, frame: bytes, is_text: bool, *, up: bool) -> None:
        """Hand on what is left of a message."""
        party = self._party
        target, other = (self.upstream, self.client) if up else (self.client, self.upstream)
        if target.transport.is_closing():
            return  # reset: what was read before is lost, and no fault is spent on it
        self._report.messages["up" if up else "down"] += 1
        passed = party.take(frame, is_text, up=up)
        for deed in passed.deeds:
            self._report.note(party, deed)
        target.network.impair(passed.impairment)
        if passed.impairment.breaks:
            other.network.break_off(passed.impairment)
            if passed.impairment.breaks == "partition":
                party.heals_at_s = time.monotonic() + passed.impairment.break_s
        if not target.transport.is_closing():
            for message in passed.messages:
                await super().carry(message.frame, message.is_text, up=up)

    async def closed(self, by: Side | None, code: int, reason: str) -> None:
        """Send what still waits to go out late, unless its receiver is gone."""
        log.info("closed by the %s with %d: %s", by or "proxy", code, self._party.name)
        for line, up in ((self._party.up, True), (self._party.down, False)):
            held = line.flush()
            if (by == "client") == up:
                for message in held:
                    await super().carry(message.frame, message.is_text, up=up)

    def left(self) -> None:
        """Remember the party for when it comes back."""
        self._parties.go(self._party)
