"""Rows of a table as one small block, column by column, and back: every value as it was. Pure.

A block is a byte that tells the version, then JSON in zlib: the number of rows, and of each column
how it is written and what. Numbers are written as differences to the one before, decimals and
times as whole numbers, what is the same in every row once; whatever doesn't fit as it is.
"""

import itertools
import json
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

VERSION: Final = b"\x01"
BLOCK_MAX_BYTES: Final = 64 << 20
"""What a block may unfold to: more would be somebody's bomb."""
VALUES_MAX: Final = 1 << 22
"""What a column may have at most, for the same reason."""
DIGITS_MAX: Final = 6
"""Decimals that are tried: sensors send two, or binary fractions with up to sixteen."""
SAMPLE_COLUMNS: Final = (
    "id", "examination_id", "sensor_id", "stream_id", "seq", "uuid", "sec_from_start", "bpm",
    "uterus", "spasms", "created_at",
)  # fmt: skip
RESULT_COLUMNS: Final = (
    "id", "examination_id", "sensor_id", "sec_from_start", "status", "body", "created_at",
    "repeated",
)  # fmt: skip
"""The columns of ``ctg`` and ``predictions`` as they follow one another in blocks."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

Column = list[Any]


def pack(columns: Sequence[Column]) -> bytes:
    """Return a block of columns, all of the same length, not empty.

    Raises
    ------
    TypeError, ValueError
        When a value cannot be in one: bytes among texts, text that isn't Unicode.

    Examples
    --------
    >>> unpack(pack([[7, 8], [0.25, None], ["a", "b"]]))
    [[7, 8], [0.25, None], ['a', 'b']]
    """
    said = [len(columns[0]), *(_written(column) for column in columns)]
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return VERSION + zlib.compress(text.encode(), 9)


def unpack(block: object) -> list[Column]:
    """Return the columns of a block.

    Raises
    ------
    ValueError
        When it is not a block, or is damaged, or of a later version.
    """
    if not isinstance(block, bytes) or block[:1] != VERSION:
        raise ValueError("a packed block is none of this version")
    try:
        stream = zlib.decompressobj()
        text = stream.decompress(block[1:], BLOCK_MAX_BYTES)
        if not stream.eof or stream.unused_data:
            raise ValueError("its end is elsewhere")
        rows, *said = json.loads(text)
        columns = [_READ[how](rows, *what) for how, *what in said]
        if not columns or any(len(column) != rows for column in columns):
            raise ValueError("its columns differ in length")
    except (ValueError, TypeError, KeyError, OverflowError, zlib.error, struct.error) as error:
        raise ValueError(f"a packed block is damaged: {error}") from error
    return columns


def _written(column: Column) -> list[Any]:
    """Return how a column is written, and what."""
    kinds = set(map(type, column))
    if kinds <= {bytes, type(None)} and bytes in kinds:
        return _doubles_written(column) or [
            "bytes",
            [None if one is None else one.hex() for one in column],
        ]
    if kinds == {int}:
        return ["ints", _steps(column)]
    if kinds <= {float, type(None)} and float in kinds:
        for digits in range(DIGITS_MAX + 1):
            if (whole := _scaled(column, 10**digits)) is not None:
                return ["decimals", digits, _steps(whole)]
    if kinds == {str} and (at_ms := _times(column)) is not None:
        return ["times", _steps(at_ms)]
    if len(kinds) == 1 and column.count(column[0]) == len(column):
        return ["same", column[0]]
    return ["plain", column]


def _doubles_written(column: Column) -> list[Any] | None:
    """Return bytes that are 64-bit numbers as such; None when some are not."""
    if any(one is not None and len(one) % 8 for one in column):
        return None
    lengths = [None if one is None else len(one) // 8 for one in column]
    flat = struct.unpack(f"<{sum(n or 0 for n in lengths)}d", b"".join(filter(None, column)))
    return ["doubles", lengths, _written(list(flat))] if all(map(math.isfinite, flat)) else None


def _steps(numbers: Column) -> Column:
    """Return each number's difference to the one before that isn't None."""
    last = 0
    steps: Column = []
    for number in numbers:
        if number is None:
            steps.append(None)
        else:
            steps.append(number - last)
            last = number
    return steps


def _summed(steps: Column) -> Column:
    last = 0
    numbers: Column = []
    for step in steps:
        if step is None:
            numbers.append(None)
        else:
            last += step
            numbers.append(last)
    return numbers


def _scaled(column: Column, scale: int) -> Column | None:
    """Return floats times a scale as whole numbers; None when they couldn't be had back."""
    try:
        whole = [None if value is None else round(value * scale) for value in column]
    except (OverflowError, ValueError):  # infinite
        return None
    again = [None if number is None else number / scale for number in whole]
    return whole if _bits(again) == _bits(column) else None


def _bits(column: Column) -> bytes:
    """Return floats bit by bit: -0.0 is not 0.0."""
    known = [value for value in column if value is not None]
    return struct.pack(f"{len(known)}d", *known)


def _times(column: Column) -> Column | None:
    """Return times as milliseconds; None when one is written otherwise than the store does."""
    try:
        at_ms = [(datetime.fromisoformat(text) - _EPOCH) // _MS for text in column]
        return at_ms if _as_times(at_ms) == column else None
    except (ValueError, TypeError):  # no time, or one without a zone
        return None


def _as_times(at_ms: Column) -> Column:
    return [
        (_EPOCH + number * _MS).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for number in at_ms
    ]


def _same(rows: int, value: Any) -> Column:
    if rows > VALUES_MAX:
        raise ValueError(f"it claims {rows} values")
    return [value] * rows


def _doubles(_rows: int, lengths: Column, said: Column) -> Column:
    how, *what = said
    numbers = iter(_READ[how](sum(length or 0 for length in lengths), *what))
    return [
        None if n is None else struct.pack(f"<{n}d", *itertools.islice(numbers, n))
        for n in lengths
    ]  # fmt: skip


_READ: dict[str, Callable[..., Column]] = {
    "plain": lambda _rows, column: list(column),
    "same": _same,
    "ints": lambda _rows, steps: _summed(steps),
    "decimals": lambda _rows, digits, steps: [
        None if number is None else number / 10**digits for number in _summed(steps)
    ],
    "times": lambda _rows, steps: _as_times(_summed(steps)),
    "doubles": _doubles,
    "bytes": lambda _rows, column: [
        None if text is None else bytes.fromhex(text) for text in column
    ],
}
