"""Members of any message: a sample, an array of them, a request, a result.

This module performs no I/O.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from ctgkit.errors import WireError
from ctgkit.samples import SEC_FROM_START_MAX_S
from ctgkit.wire import MEMBERS
from ctgkit.wire.json import read_json


def _visit(message: Any, member: str, change: Callable[[Any], Any]) -> bool:
    """Change one member wherever it occurs; return whether it does."""
    found = False
    for item in message if isinstance(message, list) else [message]:
        inner = item.values() if isinstance(item, dict) else ()
        for part in (item, *inner):
            for key in part if isinstance(part, dict) else ():
                if key.lower() == MEMBERS[member].lower():
                    part[key], found = change(part[key]), True
    return found


def with_member(frame: bytes, member: str, change: Callable[[Any], Any]) -> bytes:
    """Return a message with one member changed, wherever it occurs.

    Parameters
    ----------
    frame : bytes
        The message.
    member : str
        A key of :data:`ctgkit.wire.MEMBERS`; in any case of letters, as S-4.2 of PROTOCOL has it.
    change : callable
        The member's value -> its new value.

    Returns
    -------
    bytes
        As it came when there is no such member.
    """
    try:
        message = read_json(frame)
    except WireError:
        return frame
    return msgspec.json.encode(message) if _visit(message, member, change) else frame


def data_time_s(frame: bytes) -> float | None:
    """Return the data time of a message, seconds; of several samples the last one's.

    >>> data_time_s(b'{"secFromStart": 1.5}'), data_time_s(b'{"ack": 3}')
    (1.5, None)
    """
    times: list[Any] = []
    try:
        _visit(read_json(frame), "time", times.append)
    except WireError:
        return None
    return next((t for value in reversed(times) if (t := as_time_s(value)) is not None), None)


def as_time_s(value: Any) -> float | None:
    """Return *value* if it is a data time within the limits (PROTOCOL S-4.7), else None."""
    if type(value) in (int, float) and 0 <= value <= SEC_FROM_START_MAX_S:
        return float(value)
    return None
