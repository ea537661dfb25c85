"""What a read brought, cut into frames: whole messages in one pass, all else for the library.

Nearly every frame of a sensor or an ML service is a whole message below 64 KiB. These are taken
here, many at once. Controls, fragments, longer frames and whatever is wrong are only measured, and
parsed by the library as ever. This module performs no I/O.
"""

try:
    from websockets.speedups import apply_mask as apply_mask
except ImportError:  # no compiler where it was installed
    from websockets.utils import apply_mask as apply_mask

TEXT, BINARY = 0x81, 0x82
"""First byte of a whole message."""
HELD_MAX_BYTES = 4096
"""Longest frame of which a beginning may wait here for its end. Chosen: a usual one has 0.1 to 2
KiB; the library collects a longer one without copying it each time."""
_MASKED, _LENGTH = 0x80, 0x7F
_OPCODES = {0, 1, 2, 8, 9, 10}


def whole_messages(
    data: bytes, at: int, *, masked: bool, most: int, most_bytes: int, longest: int
) -> tuple[list[bytes], int]:
    """Return the whole messages that begin at *at*, all texts or all binary, and where they end.

    Parameters
    ----------
    data : bytes
        What was read.
    at : int
        Where a frame begins.
    masked : bool
        Whether frames have to be masked: those of clients.
    most, most_bytes : int
        After so many messages, or so many bytes, it is enough.
    longest : int
        Length above which a message is not one of ours.
    """
    messages: list[bytes] = []
    size, first, enough = len(data), data[at], at + most_bytes
    if first != TEXT and first != BINARY:
        return messages, at
    bit, header = (_MASKED, 6) if masked else (0, 2)
    while at + header <= size and data[at] == first and len(messages) < most and at < enough:
        length, start = data[at + 1] ^ bit, at + header
        if length > 125:
            if length != 126 or start + 2 > size:
                break  # it isn't masked as it should be, or long, or cut
            length, start = data[at + 2] << 8 | data[at + 3], start + 2
        end = start + length
        if end > size or length > longest:
            break
        text = data[start:end]
        messages.append(apply_mask(text, data[start - 4 : start]) if masked else text)
        at = end
    return messages, at


def only_message(data: bytes, *, masked: bool) -> bytes | None:
    """Return the message when *data* is one whole one and nothing else, as at 4 Hz nearly always.

    >>> only_message(bytes((TEXT, 7)) + b'{"a":1}', masked=False)
    b'{"a":1}'
    >>> only_message(bytes((TEXT, 7)) + b'{"a":1}.', masked=False) is None
    True
    """
    size = len(data)
    if size < 8 or (data[0] != TEXT and data[0] != BINARY):
        return None
    length, start = data[1] ^ (_MASKED if masked else 0), 6 if masked else 2
    if length == 126:
        length, start = data[2] << 8 | data[3], start + 2
    elif length > 125:
        return None
    if start + length != size:
        return None
    return apply_mask(data[start:], data[start - 4 : start]) if masked else data[start:]


def other_frames(
    data: bytes, at: int, *, masked: bool, most: int, most_bytes: int, longest: int
) -> tuple[int, int, int]:
    """Return the frames that the library has to parse: their number, their end, what is missing.

    What begins at *at* isn't a whole message; with the other parameters it is as above. There are
    no frames, and the end is *at*, while the library could do nothing with what there is.
    """
    size, start = len(data), at
    for number in range(most):
        if number and (at >= size or at - start >= most_bytes or data[at] in (TEXT, BINARY)):
            return number, at, 0
        length = _frame_bytes(data, at, masked=masked)
        if length < 0:
            return number + 1, size, 0  # it is wrong, and the last that is parsed
        waits = data[at] in (TEXT, BINARY) and length <= min(HELD_MAX_BYTES, longest)
        if not length or (waits and at + length > size):
            return number, at, 0
        at += length
        if at > size:
            return number + 1, size, at - size
    return most, at, 0


def _frame_bytes(data: bytes, at: int, *, masked: bool) -> int:
    """Return a frame's size with its header; 0: its length isn't there, -1: it can't be right."""
    if len(data) - at < 2:
        return 0
    second = data[at + 1]
    if data[at] & 0x0F not in _OPCODES or bool(second & _MASKED) is not masked:
        return -1
    length, header = second & _LENGTH, 2
    if length > 125:
        header = 4 if length == 126 else 10
        if len(data) - at < header:
            return 0
        length = int.from_bytes(data[at + 2 : at + header])
    return header + 4 * masked + length
