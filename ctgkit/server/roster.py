"""Which sensors are known: those of ctgkit.toml, and those that live in the database. Pure.

Its maps are changed in place: the door, the registry and the controls look into them.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ctgkit.config import SensorEntry


class Known(NamedTuple):
    """A sensor that lives in the database."""

    id: str
    token_digest: bytes
    bed: str
    control: str | None


class Roster:
    """The sensors of one backend; what the database says of one goes before the file.

    >>> roster = Roster([SensorEntry(id="a", token="", bed="one")])
    >>> roster.begin({"a": b"1"})
    >>> sorted(roster.update([Known("b", b"2", "two", None)])), sorted(roster.beds.items())
    ([], [('a', 'one'), ('b', 'two')])
    >>> sorted(roster.update([Known("b", b"3", "two", None)])), sorted(roster.update([]))
    (['b'], ['b'])
    """

    def __init__(self, configured: Iterable[SensorEntry]) -> None:
        self._configured = {one.id: one for one in configured}
        self._configured_digests: dict[str, bytes] = {}
        self.digests: dict[str, bytes] = {}
        """Sensor id -> digest of its token."""
        self.beds: dict[str, str] = {}
        """Sensor id -> bed."""
        self.entries: list[SensorEntry] = []
        """All, in the order in which they are started."""
        self._update(())

    def begin(self, digests: Mapping[str, bytes]) -> None:
        """Take note of the digests of those that the configuration names."""
        self._configured_digests = {id_: digests[id_] for id_ in self._configured}
        self._update(())

    def update(self, known: Iterable[Known]) -> set[str]:
        """Take note of what the database says now; return whose tokens are no longer valid."""
        before = dict(self.digests)
        self._update(known)
        return {id_ for id_, digest in before.items() if self.digests.get(id_) != digest}

    def _update(self, known: Iterable[Known]) -> None:
        entries, digests = dict(self._configured), dict(self._configured_digests)
        for one in known:
            entries[one.id] = SensorEntry(id=one.id, token="", bed=one.bed, control=one.control)
            digests[one.id] = one.token_digest
        self.digests.clear()
        self.digests.update(digests)
        self.beds.clear()
        self.beds.update({id_: entry.bed for id_, entry in entries.items()})
        self.entries[:] = entries.values()
