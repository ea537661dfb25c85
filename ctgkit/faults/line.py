"""A line: what becomes of one party's messages in one direction, fault after fault.

This module performs no I/O and reads no clock.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from ctgkit.faults.fault import Direction, Fault, Impairment, Message, MessageFault, NetworkFault
from ctgkit.faults.schedule import Schedule

HELD_MAX = 1024
"""Messages that wait to go out late; with more the oldest goes out. Chosen: four minutes at 4 Hz,
as long as the longest delay."""
HELD_MAX_BYTES = 4 << 20
"""The same in bytes: messages through a proxy may have any length."""


class Deed(NamedTuple):
    """A fault struck."""

    fault: str
    """Its kind."""
    direction: Direction
    n: int
    """Number of the message or the connection, from 0."""
    t_s: float
    """Data time, seconds."""
    struck: Literal["message", "connection"]
    """What *n* numbers."""
    which: int
    """Which of the line's faults it is."""
    again: bool
    """Whether it also struck number n - 1: one of a run."""


class Passed(NamedTuple):
    """What to do about one message: impair the connection, then write the messages in order."""

    messages: list[Message]
    impairment: Impairment
    deeds: list[Deed]
    intact: bool
    """Whether the message goes out unchanged and in its place, once at least."""


class _Striker:
    def __init__(self, fault: Fault, schedule: Schedule, which: int) -> None:
        self.fault = fault
        self._schedule, self._which = schedule, which
        self._struck: Literal["message", "connection"] = "message"
        if isinstance(fault, NetworkFault) and fault.opens:
            self._struck = "connection"
        self._last_n = -2

    def strikes(self, n: int, t_s: float) -> float | None:
        return self._schedule.strikes(n, t_s)

    def deed(self, n: int, t_s: float, direction: Direction) -> Deed:
        again, self._last_n = n == self._last_n + 1, n
        return Deed(self.fault.kind, direction, n, t_s, self._struck, self._which, again)


class Line:
    """Applies faults to messages.

    Each fault draws from its own stream, named after its settings without the rate: switching one
    off leaves the others' draws alone, and raising a rate adds strikes and removes none.

    Parameters
    ----------
    faults : iterable of Fault
        In the order in which they are applied; those of the other direction are left out.
    seed : int
        Of the run.
    party : str
        Whose line it is; each party has random numbers of its own.
    direction : {"up", "down"}
        Which way.

    Examples
    --------
    >>> from ctgkit.faults.messages import Drop
    >>> from ctgkit.faults.schedule import When
    >>> line = Line([Drop(when=When(at_s=0.25))], seed=1, party="a")
    >>> [len(line.take(Message(n, n / 4, b"{}")).messages) for n in range(4)]
    [1, 0, 1, 1]
    """

    def __init__(
        self, faults: Iterable[Fault], *, seed: int, party: str, direction: Direction = "up"
    ) -> None:
        self._direction: Direction = direction
        self._messages: list[_Striker] = []
        self._network: list[_Striker] = []
        self._openings: list[_Striker] = []
        self._newest_n = -1
        self._opened = 0
        self._held: list[Message] = []
        twins: dict[str, int] = {}
        for which, fault in enumerate(faults):
            if fault.direction not in (direction, "both"):
                continue
            when = fault.when
            name = f"{fault!r}".replace(f"rate={when.rate!r}", "")
            twins[name] = twins.get(name, 0) + 1
            stream = f"{party}/{direction}/{name}/{twins[name]}"
            if isinstance(fault, NetworkFault):
                group = self._openings if fault.opens else self._network
            else:
                group = self._messages
            group.append(_Striker(fault, Schedule(when, seed, stream), which))

    def open(self, t_s: float) -> tuple[Impairment, list[Deed]]:
        """Say what happens to a new connection; *t_s* is the last data time known, seconds."""
        self._opened += 1
        return self._impair(self._openings, self._opened - 1, t_s)

    def take(self, message: Message) -> Passed:
        """Say what becomes of a message.

        One that was taken before (a sensor sends again what was not acknowledged) has the same
        message faults again; the connection is not broken a second time, and there are no deeds.
        """
        n, t_s, is_new = message.n, message.t_s, message.n > self._newest_n
        self._newest_n = max(self._newest_n, n)
        deeds = []
        messages = [message]
        for striker in self._messages:
            u = striker.strikes(n, t_s)
            if u is None:
                continue
            assert isinstance(striker.fault, MessageFault)
            after = [m for one in messages for m in striker.fault.apply(one, u)]
            if after != messages:
                deeds.append(striker.deed(n, t_s, self._direction))
            messages = after
        impairment, network_deeds = self._impair(self._network, n, t_s)
        deeds += network_deeds
        if not is_new:
            impairment, deeds = impairment._replace(breaks=""), []
        return Passed(
            self._release(n, t_s, messages), impairment, deeds, intact=message in messages
        )

    def _impair(
        self, strikers: Iterable[_Striker], n: int, t_s: float
    ) -> tuple[Impairment, list[Deed]]:
        impairment, deeds = Impairment(), []
        for striker in strikers:
            u = striker.strikes(n, t_s)
            if u is not None:
                assert isinstance(striker.fault, NetworkFault)
                impairment = impairment.joined(striker.fault.impair(u))
                deeds.append(striker.deed(n, t_s, self._direction))
        return impairment, deeds

    def _release(self, n: int, t_s: float, messages: list[Message]) -> list[Message]:
        """Keep what is to be late; return what goes out now."""
        due: list[Message] = []
        waiting: list[Message] = []
        for m in self._held:
            if m.n != n:
                is_due = n >= m.n + m.late and t_s >= m.t_s + m.late_s
                (due if is_due else waiting).append(m)
        self._held = waiting + [m for m in messages if m.late or m.late_s]
        size = sum(len(m.frame) for m in self._held)
        excess: list[Message] = []
        while self._held and (len(self._held) > HELD_MAX or size > HELD_MAX_BYTES):
            excess.append(self._held.pop(0))
            size -= len(excess[-1].frame)
        return [m for m in messages if not (m.late or m.late_s)] + due + excess

    @property
    def worst(self) -> Impairment:
        """All that the network may do, at once and at its longest."""
        impairment = Impairment()
        for striker in self._network:
            assert isinstance(striker.fault, NetworkFault)
            impairment = impairment.joined(striker.fault.impair(1.0))
        return impairment

    @property
    def holds(self) -> bool:
        """Whether messages wait to go out late."""
        return bool(self._held)

    def flush(self) -> list[Message]:
        """Return what still waits: nothing more comes."""
        held, self._held = self._held, []
        return held
