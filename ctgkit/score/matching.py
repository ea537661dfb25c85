"""Which found event is which true one, and what that makes in all.

This module performs no I/O. The rule is the one that FHRMA's users know (docs/score.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

OVERLAP_S = 5.0
"""Two events are the same only when they share more than this, seconds (FHRMA's rule)."""


class Timed(Protocol):
    """Anything that begins and ends; data time, seconds."""

    @property
    def onset_s(self) -> float:
        """When it begins."""

    @property
    def end_s(self) -> float:
        """When it ends."""


def overlap_s(a: Timed, b: Timed) -> float:
    """Return how long two events share, seconds; negative when they are apart."""
    return min(a.end_s, b.end_s) - max(a.onset_s, b.onset_s)


def match(wanted: Sequence[Timed], found: Sequence[Timed]) -> list[tuple[int, int]]:
    """Pair events one to one, the largest overlap first.

    Parameters
    ----------
    wanted, found : sequence of Timed
        In any order.

    Returns
    -------
    list of (int, int)
        Indices into *wanted* and *found* of each pair, which shares more than 5 s.
    """
    of_wanted, of_found = _by_time(wanted), _by_time(found)
    overlaps = sorted(
        (
            (shared_s, i, j)
            for i, n in enumerate(of_wanted)
            for j, m in enumerate(of_found)
            if (shared_s := overlap_s(wanted[n], found[m])) > OVERLAP_S
        ),
        reverse=True,
    )
    free_wanted, free_found = set(range(len(wanted))), set(range(len(found)))
    pairs = []
    for _, i, j in overlaps:
        if i in free_wanted and j in free_found:
            free_wanted.remove(i)
            free_found.remove(j)
            pairs.append((of_wanted[i], of_found[j]))
    return pairs


def _by_time(events: Sequence[Timed]) -> list[int]:
    """Return the indices in order of time, so that ties don't depend on the order given."""
    return sorted(range(len(events)), key=lambda n: (events[n].onset_s, events[n].end_s))


@dataclass(frozen=True, slots=True)
class Tally:
    """How many events there were, were found, and were both."""

    wanted: int = 0
    found: int = 0
    hits: int = 0
    onset_squares_s2: float = 0.0
    """Sum over the hits of the squared distance between found and true onset."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.wanted + other.wanted,
            self.found + other.found,
            self.hits + other.hits,
            self.onset_squares_s2 + other.onset_squares_s2,
        )

    @property
    def sensitivity(self) -> float | None:
        """Share of the true events that were found, in [0, 1]; None without true events."""
        return self.hits / self.wanted if self.wanted else None

    @property
    def precision(self) -> float | None:
        """Share of the found events that are true, in [0, 1]; None when nothing was found."""
        return self.hits / self.found if self.found else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of the two, in [0, 1]; None when there was nothing to find or found."""
        both = self.wanted + self.found
        return 2 * self.hits / both if both else None

    @property
    def onset_rmsd_s(self) -> float | None:
        """Root mean square distance of the onsets, seconds; None without hits."""
        return math.sqrt(self.onset_squares_s2 / self.hits) if self.hits else None
