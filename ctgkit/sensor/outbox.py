"""What a sensor has measured and the backend has not confirmed.

This module performs no I/O. Two queues hold the samples in order: those sent over the present
connection, and those still to be sent. Losing the connection puts the first before the second,
so that everything unconfirmed is sent again, in order. Together they are bounded; when they are
full the sensor stops producing (back-pressure), nothing is dropped.
"""

from collections import deque
from collections.abc import Iterable

from ctgkit.samples import Sample


class Outbox:
    """Samples with increasing ``seq``, until they are acknowledged.

    Always: sent = acked + rejected + forgotten + withdrawn + in flight, except for rejections that
    name no sample of ours, or a withdrawn one.
    """

    __slots__ = (
        "_capacity", "_highest_sent", "_in_flight", "_suspect_until", "_unsent",
        "acked", "rejected", "resent", "sent", "withdrawn",
    )  # fmt: skip

    def __init__(self, capacity: int) -> None:
        self.sent = 0
        """Samples taken at least once."""
        self.resent = 0
        """Times that a sample was taken again."""
        self.acked = 0
        self.rejected = 0
        self.withdrawn = 0
        """Samples sent once in such a way that nobody can acknowledge them."""
        self._capacity = capacity
        self._in_flight: deque[Sample] = deque()
        self._unsent: deque[Sample] = deque()
        self._highest_sent = -1
        self._suspect_until = -1
        """Samples up to here were in flight when the peer refused one of them."""

    def __len__(self) -> int:
        return len(self._in_flight) + len(self._unsent)

    @property
    def room(self) -> int:
        """How many samples may be put."""
        return self._capacity - len(self._in_flight) - len(self._unsent)

    @property
    def has_unsent(self) -> bool:
        """Whether there is anything to take."""
        if self._suspect_until < 0 or not self._unsent:
            return bool(self._unsent)
        return not (self._in_flight and self._is_suspect(self._unsent[0]))

    @property
    def is_waiting(self) -> bool:
        """Whether anything sent over the present connection is unsettled."""
        return bool(self._in_flight)

    @property
    def has_suspects(self) -> bool:
        """Whether what comes next goes out one by one."""
        return any(
            queue and self._is_suspect(queue[0]) for queue in (self._in_flight, self._unsent)
        )

    def _is_suspect(self, sample: Sample) -> bool:
        return _seq(sample) <= self._suspect_until

    def put(self, samples: Iterable[Sample]) -> None:
        """Add samples; their ``seq`` follows on those put before."""
        self._unsent.extend(samples)
        assert self.room >= 0

    def take(self, limit: int) -> tuple[list[Sample], int]:
        """Return up to *limit* samples to send now, and how many at the end are new."""
        n = min(limit, len(self._unsent)) if self.has_unsent else 0
        if n > 1 and self._is_suspect(self._unsent[0]):
            n = 1
        samples = [self._unsent.popleft() for _ in range(n)]
        self._in_flight.extend(samples)
        n_new, highest = n, self._highest_sent
        if n and _seq(samples[0]) <= highest:
            n_new = sum(_seq(s) > highest for s in samples)
        if n_new:
            self._highest_sent = _seq(samples[-1])
        self.sent += n_new
        self.resent += n - n_new
        return samples, n_new

    def ack(self, seq: int) -> None:
        """Settle everything up to *seq*; what was never sent stays, whatever the peer claims."""
        seq = min(seq, self._highest_sent)
        before = self.room
        for queue in (self._in_flight, self._unsent):
            while queue and _seq(queue[0]) <= seq:
                queue.popleft()
        self.acked += self.room - before

    def reject(self, seq: int | None) -> None:
        """Settle one sample that the peer refuses; sending it again would not help."""
        self.rejected += 1
        if seq is not None and seq <= self._highest_sent:
            self._forget(seq)

    def withdraw(self, seq: int) -> None:
        """Settle one sample that a fault kept from arriving as it is."""
        self.withdrawn += self._forget(seq)

    def _forget(self, seq: int) -> bool:
        """Return whether there was such a sample."""
        for queue in (self._in_flight, self._unsent):
            for n, sample in enumerate(queue):
                if sample.seq == seq:
                    del queue[n]
                    return True
        return False

    def refuse(self) -> int | None:
        """Note that the peer closed the connection because of a frame, without saying which.

        From then on what was in flight is sent one by one; what is refused alone is settled, and
        its number returned.
        """
        if len(self._in_flight) == 1 and self._is_suspect(self._in_flight[0]):
            self.rejected += 1
            return _seq(self._in_flight.popleft())
        if self._in_flight:
            self._suspect_until = _seq(self._in_flight[-1])
        return None

    def forget_sent(self) -> None:
        """Settle what was sent to a peer that doesn't acknowledge."""
        self._in_flight.clear()

    def rewind(self) -> None:
        """Prepare everything unsettled to be sent again, over a new connection."""
        self._unsent.extendleft(reversed(self._in_flight))
        self._in_flight.clear()


def _seq(sample: Sample) -> int:
    assert sample.seq is not None
    return sample.seq
