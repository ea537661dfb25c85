"""How long to wait before dialling again. Pure."""

from collections.abc import Callable

BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.25, 5.0
"""Upper limits of the first and of every later delay between two dials, seconds. The cap is the
specification's reconnect delay; the first one is chosen."""


class Backoff:
    """How long to wait before the next attempt: twice as long each time, up to a cap.

    Parameters
    ----------
    first_s, cap_s : float
        The first and the longest pause, seconds.
    jitter : callable
        Returns a random share of the pause, in [0, 1]; many clients need one, so that they don't
        come back all at once.

    Attributes
    ----------
    failures : int
        Attempts in a row that failed.

    Examples
    --------
    >>> backoff = Backoff()
    >>> [backoff.next_s() for _ in range(7)]
    [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    """

    def __init__(
        self,
        first_s: float = BACKOFF_FIRST_S,
        cap_s: float = BACKOFF_CAP_S,
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._first_s, self._cap_s, self._jitter = first_s, cap_s, jitter
        self.failures = 0

    def reset(self) -> None:
        """Begin again: the connection stood."""
        self.failures = 0

    def next_s(self) -> float:
        """Return the pause before the next attempt."""
        pause_s = min(self._cap_s, self._first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return pause_s * self._jitter()
