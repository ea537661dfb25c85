r"""The native format: a header, then one line of JSON per thing that happened on a connection.

    {"ctgkit_recording":1,"created":"2026-11-23T01:00:00.000Z","simulated":true,…}
    [0.0,"s1 open",{"path":"/ws/sensor?sensor_id=…","subprotocol":"ctgkit.v1",…}]
    [0.25,"s1 >","{\"secFromStart\":0.25,…}"]
    [0.26,"s1 <","{\"ack\":1}"]
    [9.5,"s1 close",{"by":"client","code":1000,"reason":""}]

A line is ``[seconds since the start, "link what", text or object]``. A link is one connection:
``s`` a sensor's, ``v`` a viewer's, ``m`` one to an ML service, numbered from 1. ``>`` is what its
client sent, ``<`` what its server sent, as the very text. ``>binary`` and ``<binary`` are binary
frames, ``>bytes`` and ``<bytes`` text frames that are no UTF-8, both in base64. ``open``,
``close`` and ``refused`` frame them; ``truth event`` is ground truth.

This module performs no I/O.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

VERSION: Final = 1
"""Of the format, not of the product. Another meaning of a line needs another number, and a
converter from the one before in :data:`CONVERTERS`."""

MARK: Final = "ctgkit_recording"
"""The header's member that holds the version."""

NOT_NATIVE: Final = "not a recording in the native format"

What = Literal["open", "close", "refused", ">", "<", "event"]
Raw = dict[str, Any] | list[Any]

CONVERTERS: Final[Mapping[int, Callable[[Raw], Raw]]] = {}
"""Version n -> what makes its header and each of its lines one of version n + 1."""


class FormatError(ValueError):
    """A line is not of this format; the reader says which."""


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a recording is; all else is in its lines."""

    version: int = msgspec.field(name=MARK)
    created: str = ""
    """When recording began, or the file was made, ISO 8601, UTC."""
    started: str = ""
    """Wall time of second 0 of the samples, where that is known."""
    made_by: str = ""
    simulated: bool | None = None
    """Whether the data come from a simulation; None where the recorder cannot know."""
    what: str = ""
    """What was recorded: addresses, or the file that was converted."""
    scenario: str = ""
    seed: int | None = None
    sensors: tuple[str, ...] = ()
    """Ids of the sensors, where they were known at the start."""
    comments: tuple[str, ...] = ()
    """What else is known, e.g. the clinical data of a public database."""


class Line(NamedTuple):
    """One thing that happened."""

    t_s: float
    """When, seconds since the recording began, >= 0."""
    link: str
    what: What
    frame: bytes = b""
    """The message, for ``>`` and ``<``."""
    is_text: bool = True
    """Whether it was a text frame."""
    about: Mapping[str, Any] = {}
    """The details of everything else."""


_line_decoder = msgspec.json.Decoder(tuple[float, str, str | dict[str, Any]])
_raw_decoder = msgspec.json.Decoder(dict[str, Any] | list[Any])
_encoder = msgspec.json.Encoder()
_PLAIN: Mapping[str, What] = {">": ">", "<": "<"}
_BASE64: Mapping[str, tuple[What, bool]] = {
    ">binary": (">", False),
    "<binary": ("<", False),
    ">bytes": (">", True),
    "<bytes": ("<", True),
}
_OTHERS: Mapping[str, What] = {
    "open": "open",
    "close": "close",
    "refused": "refused",
    "event": "event",
}


def encode_header(header: Header) -> bytes:
    """Return the first line, without its end."""
    return _encoder.encode(header)


def encode_line(line: Line) -> bytes:
    """Return a line, without its end."""
    t_s = round(line.t_s, 6)
    if line.what not in _PLAIN:
        return _encoder.encode((t_s, f"{line.link} {line.what}", line.about))
    if line.is_text:
        try:
            return _encoder.encode((t_s, f"{line.link} {line.what}", line.frame.decode()))
        except UnicodeDecodeError:
            kind = "bytes"
    else:
        kind = "binary"
    text = base64.b64encode(line.frame).decode()
    return _encoder.encode((t_s, f"{line.link} {line.what}{kind}", text))


def decode_header(
    data: bytes, converters: Mapping[int, Callable[[Raw], Raw]] = CONVERTERS
) -> Header:
    """Decode the first line.

    Raises
    ------
    FormatError
        When it is not a header, or of a version that this program does not know.
    """
    try:
        raw = _raw_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{NOT_NATIVE}: {error}") from error
    version = raw.get(MARK) if isinstance(raw, dict) else None
    if type(version) is not int or version < 0:
        raise FormatError(f"{NOT_NATIVE}: its first line has no {MARK!r}")
    if version > VERSION:
        raise FormatError(
            f"recorded in format {version}, this program knows up to {VERSION}: update ctgkit"
        )
    try:
        header = msgspec.convert(upgrade(raw, version, converters), Header)
    except msgspec.ValidationError as error:
        raise FormatError(f"bad header: {error}") from error
    return msgspec.structs.replace(header, version=version)


def decode_line(
    data: bytes, version: int = VERSION, converters: Mapping[int, Callable[[Raw], Raw]] = CONVERTERS
) -> Line:
    """Decode a line that is not the first, of a recording of *version*.

    Raises
    ------
    FormatError
        Saying what is wrong with it.
    """
    try:
        if version == VERSION:
            t_s, channel, body = _line_decoder.decode(data)
        else:
            upgraded = upgrade(_raw_decoder.decode(data), version, converters)
            t_s, channel, body = msgspec.convert(upgraded, tuple[float, str, str | dict[str, Any]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(str(error)) from error
    link, _, what = channel.partition(" ")
    if isinstance(body, str):
        if what in _PLAIN:
            return Line(t_s, link, _PLAIN[what], _frame(body))
        if what in _BASE64:
            direction, is_text = _BASE64[what]
            try:
                return Line(t_s, link, direction, base64.b64decode(body, validate=True), is_text)
            except ValueError as error:
                raise FormatError(f"{channel!r} is not base64: {error}") from error
    elif what in _OTHERS:
        return Line(t_s, link, _OTHERS[what], about=body)
    raise FormatError(f"unknown channel {channel!r} for {type(body).__name__}")


def _frame(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # a lone surrogate
        raise FormatError(f"not Unicode: {error.reason}") from error


def upgrade(raw: Raw, version: int, converters: Mapping[int, Callable[[Raw], Raw]]) -> Raw:
    """Return a header or line of *version* as one of the newest, one version after another.

    >>> upgrade([250, "s1 >", ""], 0, {0: lambda raw: [raw[0] / 1000, *raw[1:]]})
    [0.25, 's1 >', '']
    """
    for step in range(version, VERSION):
        if step not in converters:
            raise FormatError(f"format {version} is too old: no converter from {step}")
        raw = converters[step](raw)
    return raw


_SECRET_MEMBER = re.compile(
    rb'("[^"]*(?:token|password|secret)[^"]*"\s*:\s*")(?:[^"\\]|\\.)*', re.IGNORECASE
)
_SECRET_PARAMETER = re.compile(
    r"([?&][^=&]*(?:token|password|secret|key)[^=&]*=)[^&]*", re.IGNORECASE
)
_SECRET_HINT = re.compile(rb"token|password|secret", re.IGNORECASE)
_TOLD_HEADERS = {"host", "origin", "user-agent"}
REDACTED: Final = "[redacted]"


def redact_frame(frame: bytes) -> bytes:
    r"""Return a message without tokens and passwords: the only change ever made to one.

    >>> redact_frame(b'{"token": "a\\"b", "n": 1}')
    b'{"token": "[redacted]", "n": 1}'
    """
    if not _SECRET_HINT.search(frame):
        return frame
    return _SECRET_MEMBER.sub(rb"\1" + REDACTED.encode(), frame)


def redact_path(path: str) -> str:
    """Return a request path without the values of secret parameters.

    >>> redact_path("/ws?token=abc&backfill=6")
    '/ws?token=[redacted]&backfill=6'
    """
    return _SECRET_PARAMETER.sub(rf"\1{REDACTED}", path)


def redact_headers(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the names of all headers, and the values of those that are no secret."""
    return {
        name: value if name.lower() in _TOLD_HEADERS else REDACTED
        for name, value in headers
        if not name.lower().startswith(("sec-websocket", "connection", "upgrade"))
    }
