"""When a fault strikes: at a data time, in a window, at random with a rate.

This module performs no I/O. Whether a fault strikes message n depends on nothing but the seed, the
party, the fault, n and the message's data time: neither on how messages come in groups, nor on the
other faults, nor on what comes later.
"""

import hashlib
from dataclasses import dataclass

from ctgkit.faults.parameters import number
from ctgkit.samples import SEC_FROM_START_MAX_S as LATEST_S


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Which messages a fault strikes; as it stands, all."""

    at_s: float | None = number(
        "at",
        "s",
        0,
        LATEST_S,
        None,
        "Strike once: the first message from this time on.",
    )
    from_s: float = number("from", "s", 0, LATEST_S, 0.0, "Strike from this data time on …")
    to_s: float | None = number("to", "s", 0, LATEST_S, None, "… and before this one.")
    rate: float = number("rate", "", 0, 1, 1.0, "Strike this share of those messages, at random.")


def luck(seed: int, stream: str, n: int) -> tuple[float, float]:
    """Return two independent uniform numbers in [0, 1): row *n* of a stream.

    >>> luck(7, "drop", 3) == luck(7, "drop", 3) != luck(7, "drop", 4)
    True
    """
    digest = hashlib.blake2b(f"{seed}/{stream}/{n}".encode(), digest_size=16).digest()
    first, second = (int.from_bytes(half, "little") >> 11 for half in (digest[:8], digest[8:]))
    return first / 2**53, second / 2**53


class Schedule:
    """Decides for one fault on one line.

    Parameters
    ----------
    when : When
        Its times and rate.
    seed : int
        Of the run.
    stream : str
        Names the party and the fault among all of the run.
    """

    def __init__(self, when: When, seed: int, stream: str) -> None:
        self._when, self._seed, self._stream = when, seed, stream
        self._fired_n: int | None = None

    def strikes(self, n: int, t_s: float) -> float | None:
        """Say whether the fault strikes message *n*.

        Parameters
        ----------
        n : int
            The message's number, >= 0. Asking again for the same one gives the same answer.
        t_s : float
            Its data time, seconds.

        Returns
        -------
        float or None
            A uniform number in [0, 1) for what the fault draws itself; None when it doesn't strike.
        """
        when = self._when
        if t_s < when.from_s or (when.to_s is not None and t_s >= when.to_s):
            return None
        if when.at_s is not None:
            if self._fired_n is None and t_s >= when.at_s:
                self._fired_n = n
            if self._fired_n != n:
                return None
        chance, own = luck(self._seed, self._stream, n)
        return own if chance < when.rate else None
