"""Members of any message: a sample, an array of them, a request, a result.

This module performs no I/O.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from ctgkit.errors import WireError
from ctgkit.jsontext import read_json
from ctgkit.wire import MEMBERS


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
    found = False
    for item in message if isinstance(message, list) else [message]:
        inner = item.values() if isinstance(item, dict) else ()
        for part in (item, *inner):
            for key in part if isinstance(part, dict) else ():
                if key.lower() == MEMBERS[member].lower():
                    part[key], found = change(part[key]), True
    return msgspec.json.encode(message) if found else frame


def data_time_s(frame: bytes) -> float | None:
    """Return the data time of a message, seconds; of several samples the last one's.

    >>> data_time_s(b'{"secFromStart": 1.5}'), data_time_s(b'{"ack": 3}')
    (1.5, None)
    """
    times: list[Any] = []
    with_member(frame, "time", times.append)
    return next((float(t) for t in reversed(times) if type(t) in (int, float)), None)
