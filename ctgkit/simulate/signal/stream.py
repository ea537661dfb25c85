"""Random numbers that depend on nothing but (patients, seed, sensor index, component, row).

Every component of the signal has a name and draws from a Philox generator whose key is a hash of
(patients, seed, sensor index, name) and whose counter is the row: an event number, a time slot, a
frame.
Nothing is "the next draw", so order, chunk size and other components cannot matter.
"""

import hashlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROWS_PER_PAGE = 64
"""Rows drawn at once from one counter. Chosen: most blocks then need one or two pages."""

HERS = ("toco.", "mother", "patient.toco.", "patient.artefact.mhr_bpm", "patient.at.")
"""Components that belong to the mother."""

ONCE = "patient."
"""How the components begin that are drawn from once, when the patient is made."""

_MASK = 2**64 - 1


class Streams:
    """All random streams of one sensor.

    Parameters
    ----------
    seed : int
        The run's seed.
    sensor_index : int
        Which sensor of the run, from 0.
    patients : str
        Whose they are: the same seed makes other patients for another name.
    mother : int or None
        The sensor whose mother this is; default: its own. Twins share one.

    Examples
    --------
    >>> streams = Streams(seed=7, sensor_index=0)
    >>> whole = streams.normal("toco.noise", 0, 100, 2)
    >>> bool((whole[90:] == Streams(7, 0).normal("toco.noise", 90, 100, 2)).all())
    True
    """

    def __init__(
        self, seed: int, sensor_index: int, patients: str = "", mother: int | None = None
    ) -> None:
        self._prefix = f"{patients}/{seed}/{sensor_index}/"
        self._mother = f"{patients}/{seed}/{sensor_index if mother is None else mother}/"
        # One generator whose state is set before each use: seven times cheaper than a new one.
        self._generator = np.random.Generator(np.random.Philox(key=0))
        self._bits = self._generator.bit_generator
        self._state: dict[str, Any] = dict(self._bits.state)
        self._state["buffer_pos"], self._state["has_uint32"] = 4, 0
        self._place: Any = self._state["state"]
        self._place["counter"][:] = 0
        self._counter = self._place["counter"]
        self._keys: dict[str, NDArray[np.uint64]] = {}

    def generator(self, name: str, row: int) -> np.random.Generator:
        """Return a generator at the start of *row* of stream *name*; valid until the next call."""
        key = self._keys.get(name)
        if key is None:
            hers = name.startswith(HERS)
            prefix = self._mother if hers else self._prefix
            digest = hashlib.blake2b((prefix + name).encode(), digest_size=16).digest()
            key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
            if not name.startswith(ONCE):
                self._keys[sys.intern(name)] = key
        self._counter[1] = row & _MASK
        self._place["key"] = key
        self._bits.state = self._state
        return self._generator

    def uniform(self, name: str, first: int, stop: int, width: int) -> Floats:
        """Return rows *first* to *stop* of *width* numbers in [0, 1), shape (stop-first, width)."""
        return self._rows(name, first, stop, width, normal=False)

    def normal(self, name: str, first: int, stop: int, width: int) -> Floats:
        """Return rows *first* to *stop* of *width* standard normals, shape (stop-first, width)."""
        return self._rows(name, first, stop, width, normal=True)

    def _rows(self, name: str, first: int, stop: int, width: int, *, normal: bool) -> Floats:
        if stop <= first:
            return np.empty((0, width))
        stream = name + (".z" if normal else ".u")
        pages = range(first // ROWS_PER_PAGE, (stop - 1) // ROWS_PER_PAGE + 1)
        shape = (ROWS_PER_PAGE, width)
        drawn = [
            g.standard_normal(shape) if normal else g.random(shape)
            for g in (self.generator(stream, page) for page in pages)
        ]
        offset = first - pages[0] * ROWS_PER_PAGE
        table = drawn[0] if len(drawn) == 1 else np.concatenate(drawn)
        return table[offset : offset + stop - first]
