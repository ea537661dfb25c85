"""JSON text in, values out; whatever is wrong with it becomes a WireError that says where.

This module performs no I/O and knows no wire names.
"""

import re
from typing import Any, TypeVar

import msgspec

from ctgkit.errors import WireError, excerpt

_decoder = msgspec.json.Decoder()

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoders raise for bytes that are no JSON of the expected shape."""
_T = TypeVar("_T")


def read_json(frame: bytes | str) -> Any:
    """Return any JSON value, or raise WireError."""
    try:
        return _decoder.decode(frame)
    except UnicodeDecodeError as error:
        raise WireError("utf8", "frame", "invalid UTF-8", excerpt(frame)) from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise WireError("json", "frame", f"invalid JSON ({error})", excerpt(frame)) from error


def read_typed(decoder: "msgspec.json.Decoder[_T]", frame: bytes | str) -> _T:
    """Return what *decoder* makes of a message, or raise WireError."""
    try:
        return decoder.decode(frame)
    except msgspec.ValidationError as error:
        raise wire_error(error, excerpt(frame)) from error
    except UnicodeDecodeError as error:
        raise WireError("utf8", "frame", "invalid UTF-8", excerpt(frame)) from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise WireError("json", "frame", f"invalid JSON ({error})", excerpt(frame)) from error


_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")


def wire_error(error: msgspec.ValidationError, shown: str, seq: int | None = None) -> WireError:
    """Return msgspec's complaint about a message as ours: where, and what."""
    text = str(error)
    path = _PATH.search(text)
    where = path["path"] if path else ""
    reason = _PATH.sub("", text)
    if missing := _MISSING.search(text):
        where = f"{where}.{missing['name']}" if where else missing["name"]
        return WireError("missing", where, "missing", shown, seq)
    code = "range" if ("` >= " in reason or "` <= " in reason or "range" in reason) else "type"
    return WireError(code, where or "frame", reason[:1].lower() + reason[1:], shown, seq)
