"""Which sensors a node with too many of them sends away, so that a balancer finds them another one.

Pure. Balancers don't move open connections: after a node was away, the others have its sensors.
"""

import math
from collections.abc import Mapping, Sequence

UNEVEN = 1.25
"""A node with more than this times the mean has too many."""
FEWEST = 10
"""With fewer sensors a node sends none away."""
SHARE = 0.01
"""Of its sensors, how many it sends away at a time, once a second."""
IN_VAIN, TRIED_MIN = 0.75, 8
"""When more than this share of at least so many come back here, no balancer helps …"""
REST_S, REST_MAX_S = 600.0, 14_400.0
"""… and it is tried again only so much later, twice as much each time, and at most, seconds."""


class Shares:
    """What one node knows of its share of the sensors."""

    def __init__(self) -> None:
        self._sent: set[str] = set()
        self._back: set[str] = set()
        self._rests_until_s = -math.inf
        self._rest_s = REST_S

    def too_many(self, mine: Sequence[str], counts: Mapping[str, int], at_s: float) -> list[str]:
        """Return which of this node's sensors should go now.

        *mine* are its sensors, who is here longest first; *counts* are the numbers of sensors of
        all living nodes; *at_s* is now, monotonic.

        >>> Shares().too_many([str(n) for n in range(60)], {"a": 60, "b": 0}, 0.0)
        ['0']
        >>> Shares().too_many([str(n) for n in range(60)], {"a": 60, "b": 50}, 0.0)
        []
        """
        if len(self._sent) >= TRIED_MIN and len(self._back) > IN_VAIN * len(self._sent):
            self._rests_until_s = at_s + self._rest_s
            self._rest_s = min(2 * self._rest_s, REST_MAX_S)
            self._sent.clear()
            self._back.clear()
        mean = sum(counts.values()) / max(len(counts), 1)
        if at_s < self._rests_until_s or len(mine) < FEWEST or len(mine) <= UNEVEN * mean:
            return []
        going = list(mine[: math.ceil(SHARE * len(mine))])
        self._sent |= set(going)
        return going

    def came(self, sensor_id: str) -> None:
        """Take note of a sensor that comes here."""
        if sensor_id in self._sent:
            self._back.add(sensor_id)
