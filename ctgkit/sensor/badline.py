"""What lies between a sensor and its socket when faults are asked for.

A sample that a fault dropped, altered or made late is sent once, as the faults left it, and taken
out of the outbox: an acknowledgement would say nothing about it. All others are sent again until
they are acknowledged, each time with the same message faults, so that what happens to a sample
doesn't depend on reconnects. Only samples that are sent for the first time break a connection.
"""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

from websockets.asyncio.client import ClientConnection

from ctgkit.clock import monotonic_s
from ctgkit.faults.fault import Impairment, Message
from ctgkit.faults.line import Deed, Line
from ctgkit.net.connection import BoundedClient
from ctgkit.net.frames import write_texts
from ctgkit.net.impaired import HELD_MAX_BYTES, Impaired
from ctgkit.samples import Sample
from ctgkit.sensor.outbox import Outbox
from ctgkit.wire import encode_sample


class SensorEnd(BoundedClient):
    """A sensor's connection. What it gets is shorter than what counts as saying something."""

    message_min_bytes = 0


class ImpairedSensor(Impaired, SensorEnd):
    """A sensor's connection over a bad network."""


class BadLine:
    """Sends one sensor's samples through faults.

    Parameters
    ----------
    line : Line
        Decides.
    first_seq : int
        Number of the sensor's first sample.
    outbox : Outbox
        From which altered samples are withdrawn.
    on_fault : callable
        Called with each strike.
    """

    def __init__(
        self, line: Line, first_seq: int, outbox: Outbox, on_fault: Callable[[Deed], None]
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Strikes by kind of fault."""
        self._line, self._first_seq = line, first_seq
        self._outbox, self._on_fault = outbox, on_fault
        self._t_s = 0.0
        self._heals_at_s = 0.0

    @property
    def holds(self) -> bool:
        """Whether messages wait to go out late."""
        return self._line.holds

    @property
    def patience_s(self) -> float:
        """How much longer than usual acknowledgements may take, seconds."""
        return self._line.worst.break_s + self.delay_s

    @property
    def delay_s(self) -> float:
        """The same while the connection isn't broken."""
        worst = self._line.worst
        return worst.hold_s + HELD_MAX_BYTES / worst.bytes_per_s

    async def before_dialling(self) -> type[SensorEnd]:
        """Wait until the network lets a connection through; return what makes it."""
        await asyncio.sleep(self._heals_at_s - monotonic_s())
        opening, deeds = self._line.open(self._t_s)
        for deed in deeds:
            self._note(deed)
        made: Any = functools.partial(_connection, opening)  # as good as a class to `connect`
        return cast(type[SensorEnd], made)

    def send(
        self, connection: ClientConnection, samples: Sequence[Sample], shown: Sequence[Sample]
    ) -> bool:
        """Send samples, oldest first.

        Parameters
        ----------
        connection : ClientConnection
            Made by what :meth:`before_dialling` returned; its peer reads.
        samples : sequence of Sample
            With their numbers.
        shown : sequence of Sample
            The same as the backend is to see them, with or without numbers.

        Returns
        -------
        bool
            Whether all were sent; otherwise a fault has reset the connection.
        """
        assert isinstance(connection, ImpairedSensor)
        for sample, as_shown in zip(samples, shown, strict=True):
            if connection.transport.is_closing():
                return False
            assert sample.seq is not None
            n, self._t_s = sample.seq - self._first_seq, sample.sec_from_start
            passed = self._line.take(Message(n, self._t_s, encode_sample(as_shown)))
            for deed in passed.deeds:
                self._note(deed)
            if passed.impairment.breaks == "partition":
                self._heals_at_s = monotonic_s() + passed.impairment.break_s
            connection.network.impair(passed.impairment)
            if passed.impairment.breaks == "reset":
                return False
            write_texts(connection, [m.frame for m in passed.messages])
            if not passed.intact:
                self._outbox.withdraw(sample.seq)
        return True

    def flush(self, connection: ClientConnection) -> None:
        """Send what still waits to go out late; it is lost with the connection."""
        write_texts(connection, [m.frame for m in self._line.flush()])

    def _note(self, deed: Deed) -> None:
        self.counts[deed.fault] += 1
        self._on_fault(deed)


def _connection(opening: Impairment, *arguments: Any, **more: Any) -> ImpairedSensor:
    connection = ImpairedSensor(*arguments, **more)
    connection.opening = opening
    return connection
