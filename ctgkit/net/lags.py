"""How late messages were sent after they were due.

This module performs no I/O.
"""

import math
from collections import Counter

_BUCKETS_PER_DECADE = 50
_SHORTEST_LAG_S = 1e-5


class Lags:
    """How late samples were sent, in buckets 5 % wide from 10 µs: small, however many there are."""

    def __init__(self) -> None:
        self.max_s = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, lag_s: float) -> None:
        """Count one sample."""
        self.max_s = max(self.max_s, lag_s)
        decades = math.log10(max(lag_s, _SHORTEST_LAG_S) / _SHORTEST_LAG_S)
        self._buckets[math.ceil(decades * _BUCKETS_PER_DECADE)] += 1

    def quantile_s(self, share: float) -> float | None:
        """Return the lag that *share* of the samples kept within; None without samples."""
        wanted = share * self._buckets.total()
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(_SHORTEST_LAG_S * 10 ** (bucket / _BUCKETS_PER_DECADE), self.max_s)
        return None
