"""Messages that others kept: one JSON message per line, HAR, an exported examination.

They are read as a recording in the native format is: samples as what sensors sent, results as what
a viewer was sent, at the times that they say themselves. Everything else is left out and counted.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from ctgkit.errors import RecordingError, WireError, excerpt
from ctgkit.recording.files.names import channel_of
from ctgkit.recording.files.opening import open_bytes, unpacked_most
from ctgkit.recording.files.options import MAX_MB
from ctgkit.recording.format import NOT_NATIVE, VERSION, Header, Line
from ctgkit.recording.journal import LINE_MAX_BYTES, JournalReader
from ctgkit.recording.tnetstring import flows_of
from ctgkit.samples import Sample
from ctgkit.wire import (
    SENSOR_ID_PARAMETER,
    decode_frame,
    decode_request,
    decode_result,
    encode_sample,
)

_DOCUMENTS: Final = (".json", ".har", ".mitm")
"""Endings of files that are one JSON document."""
_WRAPPERS = ("data", "payload", "payloadData", "message", "msg", "text", "body", "frame", "content")
"""Members in which tools keep the message itself."""
_DEPTH = 4
DOCUMENT_MAX_BYTES: Final = 256 << 20
"""Longest JSON document, which is held whole; lines of any length are not."""
BEGINS_WITHIN_S: Final = 5.0
"""First data time up to which a sensor began with its examination, seconds."""
EMPTY_LINES_MAX: Final = 1_000_000
_ROW = {"sec_from_start", "bpm"}
"""What a row of an exported examination has."""


def open_recording(
    path: Path, *, skip_bad: bool = False, max_bytes: int | None = None
) -> "AnyRecording":
    """Open a recording in the native format, or a capture of messages.

    Raises
    ------
    RecordingError
        When it is neither.
    """
    if path.name.lower().endswith(_DOCUMENTS):
        return CaptureReader(path, max_bytes=max_bytes)
    try:
        return JournalReader(path, skip_bad=skip_bad, max_bytes=max_bytes)
    except RecordingError as error:
        if not error.reason.startswith(NOT_NATIVE):
            raise
        try:
            return CaptureReader(path, max_bytes=max_bytes)
        except RecordingError as other:
            reason = f"{error.reason}, and {other.reason}"
            raise RecordingError(str(path), 1, reason) from error


class _Message(NamedTuple):
    """A sample or a result, as it was sent."""

    t_s: float
    sensor_id: str
    is_result: bool
    frame: bytes


class CaptureReader:
    """Reads a capture as if it were a recording; iterate over it, as often as needed.

    Parameters
    ----------
    path : Path
        Lines of messages, with whatever a tool wrote before them; HAR; ``exam export``.
    max_bytes : int or None
        Most that it may unpack to; by default a hundred times its size, and never above 1 GiB.

    Raises
    ------
    RecordingError
        When it contains no samples or results.
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        self.path, self.skip_bad, self.number = path, False, 0
        self.bad = 0
        """Messages of the last iteration that are neither samples nor results."""
        self.header = Header(version=VERSION, what="captured messages")
        self._max_bytes = max_bytes or MAX_MB << 20
        self._document: Any = None
        if path.name.lower().endswith(_DOCUMENTS):
            self._document = self._load()
        exam = self._document.get("examination") if isinstance(self._document, dict) else None
        start = exam.get("start_time") if isinstance(exam, dict) else None
        self._started = start if isinstance(start, str) else ""
        if next(iter(self._messages()), None) is None:
            raise RecordingError(
                str(path), 0, f"it contains no samples or results; {self._instead()}"
            )

    def __iter__(self) -> Iterator[Line]:
        self.bad = 0
        links: dict[str, str] = {}
        viewed = False
        t_s = 0.0
        for message in self._messages():
            t_s = message.t_s
            if message.is_result:
                if not viewed:
                    yield Line(t_s, "v1", "open", about={"path": "/ws"})
                viewed = True
                yield Line(t_s, "v1", "<", message.frame)
                continue
            if message.sensor_id not in links:
                links[message.sensor_id] = link = f"s{len(links) + 1}"
                query = urlencode({SENSOR_ID_PARAMETER: message.sensor_id})
                about: dict[str, Any] = {"path": f"/ws/sensor?{query}"}
                if self._started and t_s < BEGINS_WITHIN_S:
                    about["started"] = self._started
                yield Line(t_s, link, "open", about=about)
            yield Line(t_s, links[message.sensor_id], ">", message.frame)
        about = {"by": "client", "code": 1000, "reason": ""}
        for link in [*links.values(), *["v1"] * viewed]:
            yield Line(t_s, link, "close", about=about)

    def _instead(self) -> str:
        """Say how what is in it can be read, or where samples come from."""
        first = next(self._items(), None)
        names = [str(name) for name in first] if isinstance(first, dict) else []
        if any(channel_of(name).role in ("fhr", "toco") for name in names):
            listed = excerpt(", ".join(names[:6]))
            return f"a table with the columns {listed} is read as CSV (pandas: df.to_csv(…))"
        return "`ctgkit record` makes a recording"

    def _load(self) -> Any:
        most = unpacked_most(self.path, self._max_bytes, MAX_MB << 20)
        if self._max_bytes == MAX_MB << 20:
            most = min(most, DOCUMENT_MAX_BYTES)
        try:
            with open_bytes(self.path, most) as file:
                if self.path.suffix.lower() == ".mitm":
                    return list(_of_mitmproxy(flows_of(file.read())))
                return msgspec.json.decode(file.read())
        except ValueError as error:
            if self.path.suffix.lower() == ".mitm":
                raise RecordingError(str(self.path), 0, f"not mitmproxy's: {error}") from error
            return None  # lines, after all
        except OSError as error:
            raise RecordingError(str(self.path), 0, error.strerror or str(error)) from error
        except RecursionError:
            return None

    def _messages(self) -> Iterator[_Message]:
        for item in self._items():
            found = list(_messages_of(item))
            if not found:
                self.bad += 1
            yield from found

    def _items(self) -> Iterator[Any]:
        """Yield what may be a message: decoded JSON, with its text where there is one."""
        document = self._document
        if isinstance(document, dict):
            entries = document.get("log", {})
            if isinstance(entries, dict) and "entries" in entries:
                yield from _of_har(entries["entries"])
            else:
                for part in ("samples", "results"):
                    rows = document.get(part)
                    yield from rows if isinstance(rows, list) else ()
                if "samples" not in document:
                    yield document
        elif isinstance(document, list):
            yield from document
        else:
            yield from self._lines()

    def _lines(self) -> Iterator[Any]:
        most = unpacked_most(self.path, self._max_bytes, MAX_MB << 20)
        decoder, empty = json.JSONDecoder(), 0
        try:
            with open_bytes(self.path, most) as file:
                while line := file.readline(LINE_MAX_BYTES):
                    text = line.decode("utf-8", "replace").strip().strip("\ufeff")
                    start = text.find("{")
                    if text.startswith("["):
                        start = 0 if text[1:2] in ("{", "]", "[") else start
                    if start < 0:
                        self.bad += bool(text)
                        if (empty := empty + (not text)) > EMPTY_LINES_MAX:
                            reason = f"more than {EMPTY_LINES_MAX} empty lines"
                            raise RecordingError(str(self.path), 0, reason)
                        continue
                    try:
                        yield decoder.raw_decode(text[start:])[0]
                    except (ValueError, RecursionError):
                        self.bad += 1
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RecordingError(str(self.path), 0, excerpt(reason)) from error


class _OfSensor(NamedTuple):
    """What went over the connection of a sensor, whose id is in the address."""

    item: Any
    sensor_id: str


def _of_har(entries: Any) -> Iterator[_OfSensor]:
    """Yield the WebSocket messages of a browser's archive."""
    for entry in entries if isinstance(entries, list) else ():
        messages = entry.get("_webSocketMessages") if isinstance(entry, dict) else None
        if not isinstance(messages, list):
            continue
        request = entry.get("request")
        url = request.get("url") if isinstance(request, dict) else ""
        sensor_id = _id_in(url) if isinstance(url, str) else ""
        for message in messages:
            yield _OfSensor(message, sensor_id)


def _id_in(url: str) -> str:
    try:
        return parse_qs(urlsplit(url).query).get(SENSOR_ID_PARAMETER, [""])[0].lower()
    except ValueError:
        return ""


def _of_mitmproxy(flows: Iterator[Any]) -> Iterator[Any]:
    """Yield the WebSocket messages of mitmproxy's flows: [type, from client, content, time, …]."""
    for flow in flows:
        socket = flow.get("websocket") if isinstance(flow, dict) else None
        messages = socket.get("messages") if isinstance(socket, dict) else None
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, list) and len(message) > 2 and isinstance(message[2], bytes):
                yield message[2].decode("utf-8", "replace")


def _messages_of(item: Any, depth: int = 0, sensor_id: str = "") -> Iterator[_Message]:
    """Yield the samples and results in one decoded piece, unwrapping what tools put around it."""
    if depth > _DEPTH:
        return
    if isinstance(item, _OfSensor):
        item, sensor_id = item
    if isinstance(item, str):
        if item.lstrip()[:1] in ("{", "["):
            try:
                yield from _messages_of(json.loads(item), depth + 1, sensor_id)
            except (ValueError, RecursionError):
                return
        return
    if isinstance(item, list):
        for one in item:
            yield from _messages_of(one, depth + 1, sensor_id)
        return
    if not isinstance(item, dict):
        return
    found = _message(item, sensor_id)
    if found is not None:
        yield found
        return
    for name in _WRAPPERS:
        if isinstance(item.get(name), str | dict | list):
            yield from _messages_of(item[name], depth + 1, sensor_id)
            return


def _message(item: dict[str, Any], sensor_id: str) -> _Message | None:
    if item.keys() >= _ROW and "uuid" in item:
        return _row(item)
    frame = msgspec.json.encode(item)
    if "status" in item or "prediction" in item:
        try:
            result = decode_result(frame)
        except WireError:
            return None
        return _Message(result.sec_from_start, result.sensor_id.lower(), True, frame)
    samples, _ = decode_frame(frame, _sensor_id(item) or sensor_id)
    if not samples:
        return _request(frame)
    return _Message(samples[0].sec_from_start, samples[0].sensor_id, False, frame)


def _request(frame: bytes) -> _Message | None:
    """Return what a backend sent to an ML service, flat, as the sample that it came from."""
    try:
        sample = decode_request(frame)
    except WireError:
        return None
    return _Message(sample.sec_from_start, sample.sensor_id.lower(), False, encode_sample(sample))


def _sensor_id(item: dict[str, Any]) -> str:
    """Return the id that a sample claims; it is its own."""
    names = {str(name).lower(): value for name, value in item.items()}
    claimed = names.get(SENSOR_ID_PARAMETER.replace("_", ""), "")
    return claimed.lower() if isinstance(claimed, str) else ""


def _row(item: dict[str, Any]) -> _Message | None:
    """Return a row of an exported examination as the sample that was sent."""
    try:
        bpm, uterus, spasms = (
            None if item.get(name) is None else float(item[name])
            for name in ("bpm", "uterus", "spasms")
        )
        seq = item["seq"] if isinstance(item.get("seq"), int) else None
        sec = float(item["sec_from_start"])
        sample = Sample(str(item["uuid"]).lower(), sec, bpm or None, uterus, spasms, seq)
        return _Message(sample.sec_from_start, sample.sensor_id, False, encode_sample(sample))
    except (TypeError, ValueError):
        return None


AnyRecording = JournalReader | CaptureReader
