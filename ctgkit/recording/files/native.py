"""Samples in the native format: decoded from the raw messages, or encoded as a sensor's."""

import heapq
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import numpy as np

from ctgkit import __version__
from ctgkit.clock import utc_timestamp
from ctgkit.errors import RecordingError, WireError
from ctgkit.events import Event
from ctgkit.recording import Recording
from ctgkit.recording.format import VERSION, Header, Line
from ctgkit.recording.journal import JournalReader, JournalWriter
from ctgkit.samples import Sample
from ctgkit.wire import SENSOR_ID_PARAMETER, SUBPROTOCOL, decode_frame, decode_result, encode_sample

_PATH = "/ws/sensor?"


def read(path: Path, *, skip_bad: bool = False) -> Iterator[Recording]:
    """Yield each sensor's samples; see :func:`ctgkit.recording.read_recordings`.

    They come from what sensors sent; where no sensor was recorded, from a viewer's results.
    Samples that the protocol rejects, and times that were sent before, are left out.
    """
    journal = JournalReader(path, skip_bad=skip_bad)
    with tempfile.TemporaryDirectory(prefix="ctgkit-") as directory, ExitStack() as files:
        spool = _Spool(Path(directory), files)
        for line in journal:
            spool.take(line)
        yield from spool.recordings(journal)


class _Spool:
    """Sorts samples by sensor, on disk: a day of a ward doesn't fit into memory."""

    def __init__(self, directory: Path, open_files: ExitStack) -> None:
        self._directory, self._open_files = directory, open_files
        self._files: dict[tuple[str, str], IO[bytes]] = {}
        self._last_s: dict[tuple[str, str], float] = {}
        self._sensors: dict[str, str] = {}
        self._viewer: str | None = None
        self._events: dict[str, list[Event]] = {}

    def take(self, line: Line) -> None:
        """Take what a line says about samples."""
        kind = line.link[:1]
        if line.what == "open" and kind == "s":
            query = parse_qs(urlsplit(str(line.about.get("path", ""))).query)
            self._sensors[line.link] = query.get(SENSOR_ID_PARAMETER, [""])[0].lower()
        elif line.what == "open" and kind == "v":
            self._viewer = self._viewer or line.link
        elif line.what == "close" and line.link == self._viewer:
            self._viewer = None
        elif line.what == ">" and line.link in self._sensors:
            samples, _ = decode_frame(line.frame, self._sensors[line.link])
            for sample in samples:
                self._put("s", sample)
        elif line.what == "<" and line.link == self._viewer:
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
            )
        elif line.what == "event":
            self._events.setdefault(line.link, []).append(
                msgspec.convert(line.about, Event, strict=False)
            )

    def _put(self, source: str, sample: Sample) -> None:
        key = (source, sample.sensor_id)
        if sample.sec_from_start <= self._last_s.get(key, -1.0):
            return  # sent again, or another examination
        self._last_s[key] = sample.sec_from_start
        if key not in self._files:
            file = (self._directory / f"{len(self._files)}").open("w+b")
            self._files[key] = self._open_files.enter_context(file)
        nan = float("nan")
        row = (
            sample.sec_from_start,
            nan if sample.fhr_bpm is None else sample.fhr_bpm,
            nan if sample.uterus is None else sample.uterus,
            nan if sample.spasms is None else sample.spasms,
        )
        self._files[key].write(np.array(row).tobytes())

    def recordings(self, journal: JournalReader) -> Iterator[Recording]:
        """Yield each sensor's recording."""
        source = "s" if any(kind == "s" for kind, _ in self._files) else "v"
        chosen = [(key, file) for key, file in self._files.items() if key[0] == source]
        if not chosen:
            raise RecordingError(str(journal.path), 0, "no samples")
        header = journal.header
        for (_, sensor_id), file in chosen:
            file.seek(0)
            rows = np.frombuffer(file.read()).reshape(-1, 4).T.copy()
            file.close()
            yield Recording(
                sec_from_start=rows[0],
                fhr_bpm=rows[1],
                uterus=rows[2],
                spasms=rows[3],
                sensor_id=sensor_id,
                simulated=header.simulated,
                started=header.created,
                comments=header.comments,
                events=tuple(self._events.get(sensor_id, ())),
            )


def write(recordings: Iterable[Recording], path: Path) -> list[str]:
    """Write each sensor as one connection that sends its samples when they are due, all at once."""
    together = list(recordings)
    first = together[0]
    header = Header(
        version=VERSION,
        created=first.started or utc_timestamp(),
        made_by=f"ctgkit {__version__}",
        simulated=first.simulated,
        what="converted samples",
        sensors=tuple(_id_of(one, number) for number, one in enumerate(together, 1)),
        comments=first.comments,
    )
    with JournalWriter(path, header) as journal:
        lines = (_lines(one, number) for number, one in enumerate(together, 1))
        for line in heapq.merge(*lines, key=lambda line: line.t_s):
            journal.write(line)
    return []


def _id_of(recording: Recording, number: int) -> str:
    """Return the sensor's id; one without gets an id that is the same every time."""
    return recording.sensor_id or str(uuid.UUID(int=number))


def _lines(recording: Recording, number: int) -> Iterator[Line]:
    sensor_id, link = _id_of(recording, number), f"s{number}"
    path = _PATH + urlencode({SENSOR_ID_PARAMETER: sensor_id})
    about = {"path": path, "offered": [SUBPROTOCOL], "subprotocol": SUBPROTOCOL}
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
