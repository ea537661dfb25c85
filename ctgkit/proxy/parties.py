"""Who comes through the proxy, and the faults on their way.

A party is known by its path and, where it names one, its sensor: faults go on where they were when
it comes back, so that a fault that strikes once doesn't strike once per connection. Several at once
under the same name are numbered. This module performs no I/O.
"""

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from ctgkit.faults.fault import Fault, Message
from ctgkit.faults.line import Line, Passed
from ctgkit.faults.members import data_time_s
from ctgkit.wire import SENSOR_ID_PARAMETER

PARTIES_MAX = 10_000
"""Parties remembered; beyond, the one that left first is forgotten. Chosen: as many as `ctgkit
serve` has connections at most."""


class Party:
    """One party's two lines: up to the target, and down to it.

    Parameters
    ----------
    name : str
        Names it in reports and draws its luck.
    faults : sequence of Fault
        Of both directions.
    seed : int
        Of the run.
    """

    def __init__(self, name: str, faults: Sequence[Fault], seed: int) -> None:
        self.name = name
        self.t_s = 0.0
        """Data time of the last message that had one, seconds."""
        self.heals_at_s = 0.0
        """When its network is no longer partitioned, seconds of the monotonic clock."""
        self.up = Line(faults, seed=seed, party=name, direction="up")
        self.down = Line(faults, seed=seed, party=name, direction="down")
        self._counts = {True: 0, False: 0}

    def take(self, frame: bytes, is_text: bool, *, up: bool) -> Passed:
        """Say what becomes of its next message."""
        t_s = data_time_s(frame)
        if t_s is not None:
            self.t_s = t_s
        n = self._counts[up]
        self._counts[up] += 1
        return (self.up if up else self.down).take(Message(n, self.t_s, frame, is_text))


def party_name(path: str) -> str:
    """Return what a party that asks for *path* is called; what is secret is left out.

    >>> party_name("/ws/sensor?sensor_id=0C7F&token=hush")
    '/ws/sensor 0c7f'
    """
    parts = urlsplit(path)
    sensor = parse_qs(parts.query).get(SENSOR_ID_PARAMETER, [""])[0].lower()
    return f"{parts.path} {sensor}".strip()


class Parties:
    """All parties of one proxy.

    Parameters
    ----------
    faults : sequence of Fault
        Of each of them.
    seed : int
        Of the run.
    """

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults, self._seed = faults, seed
        self._here: dict[str, Party] = {}
        self._gone: dict[str, Party] = {}

    def come(self, path: str) -> Party:
        """Return the party that asks for *path*: one that was here before, or a new one."""
        first = name = party_name(path)
        n = 1
        while name in self._here:
            n += 1
            name = f"{first} #{n}"
        party = self._gone.pop(name, None) or Party(name, self._faults, self._seed)
        self._here[name] = party
        return party

    def go(self, party: Party) -> None:
        """Remember a party for when it comes back."""
        self._gone[party.name] = self._here.pop(party.name)
        if len(self._gone) > PARTIES_MAX:
            del self._gone[next(iter(self._gone))]
