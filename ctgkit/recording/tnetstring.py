"""Typed netstrings, ``5:hello,``: what mitmproxy keeps captured traffic in.

This module performs no I/O.
"""

from collections.abc import Iterator
from typing import Any

_DEPTH = 32
_DIGITS = 12


def flows_of(data: bytes) -> Iterator[Any]:
    """Yield the values that follow one another in *data*.

    Raises
    ------
    ValueError
        When it is none, or cut.

    >>> list(flows_of(b"2:42#5:hello;"))
    [42, 'hello']
    """
    place = 0
    while place < len(data):
        value, place = _value(data, place, len(data), _DEPTH)
        yield value


def _value(data: bytes, place: int, end: int, depth: int) -> tuple[Any, int]:
    colon = data.find(b":", place, min(end, place + _DIGITS + 1))
    if colon < 0 or not data[place:colon].isdigit() or depth < 0:
        raise ValueError(f"no typed netstring at byte {place}")
    begin = colon + 1
    stop = begin + int(data[place:colon])
    if stop >= end:
        raise ValueError(f"cut in the middle of a value at byte {place}")
    return _converted(data, begin, stop, depth), stop + 1


def _converted(data: bytes, begin: int, stop: int, depth: int) -> Any:
    kind, text = data[stop : stop + 1], data[begin:stop]
    if kind in (b"]", b"}"):
        items, place = [], begin
        while place < stop:
            item, place = _value(data, place, stop, depth - 1)
            items.append(item)
        if kind == b"]":
            return items
        names = [
            n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in items[::2]
        ]
        return dict(zip(names, items[1::2], strict=False))
    match kind:
        case b",":
            return text
        case b";":
            return text.decode("utf-8", "replace")
        case b"#":
            return int(text)
        case b"^":
            return float(text)
        case b"!":
            return text == b"true"
        case b"~":
            return None
    raise ValueError(f"unknown type {kind!r} at byte {stop}")


def _name(item: Any) -> str:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
