"""How long to wait before dialling again. Pure."""

BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.25, 5.0
"""Upper limits of the first and of every later delay between two dials, seconds. The cap is the
specification's reconnect delay; the first one is chosen."""


def backoff_s(attempt: int, luck: float) -> float:
    """Return the delay before dialling again: exponential, with full jitter.

    Parameters
    ----------
    attempt : int
        Failures in a row before this one, from 0.
    luck : float
        A uniform random number in [0, 1).

    Examples
    --------
    >>> [backoff_s(n, 1.0) for n in (0, 1, 2, 3, 4, 5, 1000)]
    [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    """
    return luck * min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2.0 ** min(attempt, 10))
