"""Rows of many sensors sorted on disk: in one file, however many sensors there are."""

import tempfile
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

_HELD_BYTES = 32 << 20
"""Rows that wait in memory, of all sensors together."""


class Spool:
    """Collects rows of numbers by key; use it in ``with``."""

    def __init__(self) -> None:
        self._n_columns = 0
        self._held: dict[str, list[NDArray[np.float64]]] = {}
        self._parts: dict[str, list[tuple[int, int]]] = {}
        self._held_bytes = 0
        self._file: IO[bytes] | None = None

    def put(self, key: str, rows: NDArray[np.float64]) -> None:
        """Add rows, shape (n_rows, n_columns), after those of the same key."""
        self._n_columns = rows.shape[1]
        self._held.setdefault(key, []).append(rows)
        self._parts.setdefault(key, [])
        self._held_bytes += rows.nbytes
        if self._held_bytes > _HELD_BYTES:
            self._write_held()

    def _write_held(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="ctgkit-")  # noqa: SIM115 - see __exit__
        for name, parts in self._held.items():
            data = np.concatenate(parts).tobytes()
            self._parts[name].append((self._file.tell(), len(data)))
            self._file.write(data)
        self._held.clear()
        self._held_bytes = 0

    @property
    def keys(self) -> list[str]:
        """Keys in the order in which they came first."""
        return list(self._parts)

    def rows(self, key: str) -> NDArray[np.float64]:
        """Return, once, the rows of a key, shape (n_rows, n_columns)."""
        data = []
        if self._file is not None:
            for start, length in self._parts[key]:
                self._file.seek(start)
                data.append(np.frombuffer(self._file.read(length)).reshape(-1, self._n_columns))
            self._file.seek(0, 2)
        return np.concatenate([*data, *self._held.pop(key, [])])

    def clear(self) -> None:
        """Drop all rows."""
        self._held.clear()
        self._parts.clear()
        self._held_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self._file.close()
