"""Samples in the native format: decoded from the raw messages, or encoded as a sensor's."""

import heapq
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import numpy as np

from ctgkit import __version__
from ctgkit.clock import utc_timestamp
from ctgkit.errors import RecordingError, WireError
from ctgkit.events import Event
from ctgkit.recording import Recording
from ctgkit.recording.captures import AnyRecording, CaptureReader, open_recording
from ctgkit.recording.files.labels import unique_ids
from ctgkit.recording.files.options import ReadOptions, Report
from ctgkit.recording.files.spool import Spool
from ctgkit.recording.format import VERSION, Header, Line
from ctgkit.recording.journal import JournalWriter
from ctgkit.samples import Sample
from ctgkit.wire import SENSOR_ID_PARAMETER, SUBPROTOCOL, decode_frame, decode_result, encode_sample

_PATH = "/ws/sensor?"
CONVERTED = "converted samples"
"""What the header of a converted file says: its times are not those of a recorder."""
ROWS_HELD = 65_536
"""Rows that wait in memory, of all sensors together."""
REAL_TIME_S = 5.0
"""How far a recorder's clock and data time may part, seconds, in a recording in real time."""


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield each sensor's samples; see :func:`ctgkit.recording.read_recordings`.

    They come from what sensors sent; where no sensor was recorded, from a viewer's results.
    Samples that the protocol rejects, and times that were sent before, are left out and counted.
    """
    journal = open_recording(path, skip_bad=options.skip_bad, max_bytes=options.chosen_max_bytes)
    with Spool() as spool:
        sorter = _Sorter(journal, spool)
        for line in journal:
            sorter.take(line)
        sorter.flush()
        yield from sorter.recordings(report)


class _Seen:
    """What came of one sensor."""

    def __init__(self) -> None:
        self.rows: list[float] = []
        """Not spooled yet, four numbers each."""
        self.last_s = -1.0
        self.first: tuple[float, float] | None = None
        """Time of the line and data time, seconds; of the first sample and the last one."""
        self.last = (0.0, 0.0)


class _Sorter:
    """Sorts samples by sensor, on disk: a day of a ward doesn't fit into memory."""

    def __init__(self, journal: AnyRecording, spool: Spool) -> None:
        self._journal, self._spool = journal, spool
        self._seen: dict[str, _Seen] = {}
        self._n_rows = 0
        self._sensors: dict[str, str] = {}
        self._viewer: str | None = None
        self._events: dict[str, list[Event]] = {}
        self._about: dict[str, Mapping[str, Any]] = {}
        self._rejected = self._again = 0
        self._first_again_s = 0.0
        self._why = ""

    def take(self, line: Line) -> None:
        """Take what a line says about samples."""
        kind = line.link[:1]
        if line.what == "open" and kind == "s":
            query = parse_qs(urlsplit(str(line.about.get("path", ""))).query)
            sensor_id = query.get(SENSOR_ID_PARAMETER, [""])[0].lower()
            self._sensors[line.link] = sensor_id
            self._about.setdefault("s" + sensor_id, line.about)
        elif line.what == "open" and kind == "v":
            self._viewer = self._viewer or line.link
        elif line.what == "close" and line.link == self._viewer:
            self._viewer = None
        elif line.what == ">" and line.link in self._sensors:
            samples, errors = decode_frame(line.frame, self._sensors[line.link])
            if errors and not self._rejected:
                self._why = str(errors[0])
            self._rejected += len(errors)
            for sample in samples:
                self._put("s", sample, line.t_s)
        elif line.what == "<" and line.link == self._viewer:
            self._take_result(line)
        elif line.what == "event":
            try:
                event = msgspec.convert(line.about, Event, strict=False)
            except msgspec.ValidationError as error:
                reason = f"not an event: {error}"
                bad = RecordingError(str(self._journal.path), self._journal.number, reason)
                if isinstance(self._journal, CaptureReader):
                    raise bad from error
                self._journal.skip(bad)
                return
            self._events.setdefault(line.link, []).append(event)

    def _take_result(self, line: Line) -> None:
        try:
            result = decode_result(line.frame)
        except WireError:
            return
        self._put(
            "v",
            Sample(
                result.sensor_id.lower(),
                result.sec_from_start,
                result.fhr_bpm,
                result.uterus,
                result.spasms,
            ),
            line.t_s,
        )

    def _put(self, source: str, sample: Sample, t_s: float) -> None:
        key = source + sample.sensor_id
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
        if sample.sec_from_start <= seen.last_s:
            self._first_again_s = self._first_again_s if self._again else sample.sec_from_start
            self._again += 1
            return  # sent again, or another examination
        seen.last_s = sample.sec_from_start
        seen.first = seen.first or (t_s, sample.sec_from_start)
        seen.last = (t_s, sample.sec_from_start)
        nan = math.nan
        seen.rows += (
            sample.sec_from_start,
            nan if sample.fhr_bpm is None else sample.fhr_bpm,
            nan if sample.uterus is None else sample.uterus,
            nan if sample.spasms is None else sample.spasms,
        )
        self._n_rows += 1
        if self._n_rows >= ROWS_HELD:
            self.flush()

    def flush(self) -> None:
        """Hand the rows that wait to the spool."""
        for key, seen in self._seen.items():
            if seen.rows:
                self._spool.put(key, np.array(seen.rows).reshape(-1, 4))
                seen.rows = []
        self._n_rows = 0

    def recordings(self, report: Report) -> Iterator[Recording]:
        """Yield each sensor's recording."""
        source = "s" if any(key.startswith("s") for key in self._seen) else "v"
        chosen = [key for key in self._seen if key.startswith(source)]
        if not chosen:
            why = f": {self._rejected} were rejected, first: {self._why}" if self._rejected else ""
            raise RecordingError(str(self._journal.path), 0, f"no samples{why}")
        self._tell(report, source, len(chosen))
        header = self._journal.header
        for key in chosen:
            sec, fhr_bpm, uterus, spasms = self._spool.rows(key).T.copy()
            about = self._about.get(key, {})
            yield Recording(
                sec_from_start=sec,
                fhr_bpm=fhr_bpm,
                uterus=uterus,
                spasms=spasms,
                sensor_id="" if about.get("unnamed") is True else key[1:],
                simulated=header.simulated,
                started=str(about.get("started", _started(header, self._seen[key]))),
                comments=tuple(map(str, about.get("comments", header.comments))),
                events=tuple(self._events.get(key[1:], ())),
            )

    def _tell(self, report: Report, source: str, n_sensors: int) -> None:
        who = "what sensors sent" if source == "s" else "the results that a viewer was sent"
        report.take("samples", f"{who}, {n_sensors} sensor{'s' * (n_sensors > 1)}")
        others = sum(key[0] != source for key in self._seen)
        if others:
            report.leave("the results that a viewer was sent")
        if self._rejected:
            report.warn(f"{self._rejected} samples that the protocol rejects are left out")
        if self._again and source == "s":
            report.warn(
                f"{self._again} samples with times that came before are left out, first at"
                f" {self._first_again_s:g} s: sent again, or a sensor that started anew"
            )
        if self._journal.bad and isinstance(self._journal, CaptureReader):
            report.note(f"{self._journal.bad} messages are neither samples nor results")
        elif self._journal.bad:
            report.warn(f"{self._journal.bad} lines cannot be read")


def _started(header: Header, seen: _Seen) -> str:
    """Return when second 0 was, where that is known; when the file was made says nothing."""
    if header.started:
        return header.started
    if header.what == CONVERTED or not header.created or seen.first is None:
        return ""
    (t_first_s, sec_first), (t_last_s, sec_last) = seen.first, seen.last
    if abs((t_last_s - t_first_s) - (sec_last - sec_first)) > REAL_TIME_S:
        return ""  # recorded faster than it was measured
    try:
        began = datetime.fromisoformat(header.created)
    except ValueError:
        return ""
    zero = began + timedelta(seconds=t_first_s - sec_first)
    return zero.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(recordings: Iterable[Recording], path: Path) -> list[str]:
    """Write each sensor as one connection that sends its samples when they are due, all at once."""
    given = list(recordings)
    together = list(unique_ids(given, lambda number: str(uuid.UUID(int=number))))
    first = together[0]
    header = Header(
        version=VERSION,
        created=utc_timestamp(),
        started=first.started,
        made_by=f"ctgkit {__version__}",
        simulated=first.simulated,
        what=CONVERTED,
        sensors=tuple(one.sensor_id for one in together),
        comments=first.comments,
    )
    with JournalWriter(path, header) as journal:
        lines = (
            _lines(one, number, first, unnamed=not before.sensor_id)
            for number, (one, before) in enumerate(zip(together, given, strict=True), 1)
        )
        for line in heapq.merge(*lines, key=lambda line: line.t_s):
            journal.write(line)
    return []


def _lines(recording: Recording, number: int, first: Recording, *, unnamed: bool) -> Iterator[Line]:
    sensor_id, link = recording.sensor_id, f"s{number}"
    path = _PATH + urlencode({SENSOR_ID_PARAMETER: sensor_id})
    about: dict[str, Any] = {"path": path, "offered": [SUBPROTOCOL], "subprotocol": SUBPROTOCOL}
    if unnamed:  # the id stands for none: who reads this file doesn't take it for one
        about["unnamed"] = True
    if recording.comments != first.comments:
        about["comments"] = recording.comments
    if recording.started != first.started:
        about["started"] = recording.started
    sec = recording.sec_from_start
    yield Line(float(sec[0]), link, "open", about=about)
    for event in recording.events:
        yield Line(float(sec[0]), sensor_id, "event", about=msgspec.to_builtins(event))
    channels = (sec, recording.fhr_bpm, recording.uterus, recording.spasms)
    for seq, (t_s, *values) in enumerate(zip(*channels, strict=True), 1):
        fhr_bpm, uterus, spasms = (None if v != v else float(v) for v in values)
        sample = Sample(sensor_id, float(t_s), fhr_bpm, uterus, spasms, seq)
        yield Line(float(t_s), link, ">", encode_sample(sample))
    yield Line(float(sec[-1]), link, "close", about={"by": "client", "code": 1000, "reason": ""})
