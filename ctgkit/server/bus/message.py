"""What travels between nodes: groups of results, numbered, and what of them was missed. Pure."""

from typing import Final

import msgspec

VERSION: Final = 1
"""Of the messages. Nodes of another version have other subjects: they don't hear one another."""
NODES_MAX = 1_000
"""Runs whose numbers are remembered; of more, the one not heard of for longest is dropped."""


class Results(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Results of one node, in the order in which its viewers get them."""

    node: str
    run: str
    """Of this node's program: another one counts anew."""
    number: int
    """One more than the last group's. Without results: the last group's, so that its loss shows."""
    texts: list[tuple[str, bytes]] = []
    """Sensor's id, and the result as it came."""


class Taken(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A connection whose sensor another node has now."""

    node: str
    epoch: int


_encoder = msgspec.msgpack.Encoder()
_results_decoder = msgspec.msgpack.Decoder(Results)
_taken_decoder = msgspec.msgpack.Decoder(Taken)


def encode(message: Results | Taken) -> bytes:
    """Return a message's bytes.

    >>> decode_taken(encode(Taken("a", 7)))
    Taken(node='a', epoch=7)
    """
    return _encoder.encode(message)


def decode_results(data: bytes) -> Results | None:
    """Return a group of results; None for what isn't one."""
    try:
        return _results_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def decode_taken(data: bytes) -> Taken | None:
    """Return whose connection was taken over; None for what doesn't say that."""
    try:
        return _taken_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class Heard:
    """The numbers heard of each node."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        """Run -> its last number; the last heard of is last."""

    def begin_anew(self) -> None:
        """Forget what was heard: a connection was lost."""
        self._last.clear()

    def missed(self, message: Results) -> bool:
        """Take note of a message; return whether some before it were missed.

        Of a run that wasn't heard of before all are missed that it has said.

        >>> heard = Heard()
        >>> [heard.missed(Results("a", "r", n, [("s", b"")])) for n in (1, 2, 4, 5)]
        [False, False, True, False]
        >>> [heard.missed(Results("a", run, n)) for run, n in (("r", 5), ("r", 6), ("q", 0))]
        [False, True, False]
        """
        last = self._last.pop(message.run, 0)
        self._last[message.run] = message.number
        if len(self._last) > NODES_MAX:
            del self._last[next(iter(self._last))]
        return message.number > last + (1 if message.texts else 0)
