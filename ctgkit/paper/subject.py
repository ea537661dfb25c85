"""What is printed: samples of a recording or stored examination, and what is known of them."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ctgkit.display import EVENT_SIGNS, REORDER_S
from ctgkit.dsn import Dsn
from ctgkit.errors import RecordingError, WireError, excerpt, legible
from ctgkit.events import Event
from ctgkit.recording import Recording, read_one
from ctgkit.recording.files.choosing import name_of
from ctgkit.recording.files.options import ReadOptions
from ctgkit.recording.origin import Origin, by_header, by_remarks, refuse_longer, refuse_other
from ctgkit.wire import Result, decode_result

log = logging.getLogger(__name__)


class Span(NamedTuple):
    """The baseline of some time."""

    from_s: float
    to_s: float
    bpm: float
    held: bool = False
    """Whether it is that of before, because nothing around supports any."""


class _Baseline(msgspec.Struct):
    """The baseline in the output of ``ctgkit analyze --json``."""

    baseline_per_minute: list[float | None] = []
    baseline_held_per_minute: list[bool] = []
    baseline_from_s: float = 0.0


_EXAMINATION = re.compile(r"examination (\d{1,19})\b")
_OURS = {"type": "kind", "start_s": "onset_s"}
"""Names in the output of ``ctgkit analyze`` -> ours."""


@dataclass(slots=True)
class Findings:
    """What an analyzer, or a simulation's truth, says about the samples."""

    events: dict[str, Event] = field(default_factory=dict)
    """Of the kinds that are drawn, by id; later versions replace earlier ones."""
    baseline: list[Span] = field(default_factory=list)
    """By time; empty when nothing is said of it."""
    figo: str = ""
    """Class at the end; empty when unknown."""
    simulated: bool = False
    """Whether they say that the data are simulated."""
    origin: Origin = Origin()
    """Of which recording they are, as far as they say it."""
    length_s: float | None = None
    """How long that is; None where they don't say it."""
    recording: str = ""
    """The name of its file, in a report."""


@dataclass(slots=True)
class Subject:
    """What is printed."""

    recording: Recording
    findings: Findings
    simulated: bool
    """Whether the file says so."""
    examination: str = ""
    """Its number; empty when unknown."""

    def names(self) -> list[str]:
        """Return what the sheets say of whom they show: ids, never the name of a file."""
        recording = self.recording
        found = [_EXAMINATION.match(text) for text in recording.comments]
        examination = self.examination or next((match[1] for match in found if match), "")
        return [
            *([f"sensor {excerpt(recording.sensor_id)}"] if recording.sensor_id else []),
            *([f"examination {examination}"] if examination else []),
            *([f"began {excerpt(recording.started)}"] if recording.started else []),
        ]


class _Row(msgspec.Struct):
    """A sample in an exported examination: the names are the database's."""

    uuid: str
    sec_from_start: float
    bpm: float | None
    uterus: float | None
    spasms: float | None


class _Export(msgspec.Struct):
    """What ``ctgkit exam export`` writes as JSON."""

    samples: list[_Row]
    examination: dict[str, Any]
    results: list[msgspec.Raw]


def read_subject(path: Path | Dsn, sensor: str = "", options: ReadOptions | None = None) -> Subject:
    """Read a recording, or an examination exported as JSON.

    Parameters
    ----------
    path : Path or Dsn
        ``.json``: from ``ctgkit exam export``; anything else: a recording.
    sensor : str
        Start of the sensor's id, or its number, where the file holds several.
    options : ReadOptions or None
        Which columns, which rate, which fetus.

    Raises
    ------
    RecordingError
        When it cannot be read, or doesn't say which sensor is meant.
    """
    if (
        isinstance(path, Path)
        and path.suffix == ".json"
        and (export := _export_in(path)) is not None
    ):
        return _read_export(path, export, sensor.lower())
    recording = read_one(path, options, sensor)
    events = {event.id: event for event in recording.events if event.kind in EVENT_SIGNS}
    return Subject(recording, Findings(events), simulated=bool(recording.simulated))


def _export_in(path: Path) -> _Export | None:
    """Return an exported examination; None when the file is something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Export)
    except OSError as error:
        raise RecordingError(str(path), 0, error.strerror or str(error)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _read_export(path: Path, export: _Export, sensor: str) -> Subject:
    try:
        results = [decode_result(bytes(raw)) for raw in export.results]
    except WireError as error:
        reason = f"is not what `ctgkit exam export` writes: {error}"
        raise RecordingError(str(path), 0, reason) from error
    meant = _choose(path, {row.uuid for row in export.samples}, sensor)
    rows = [row for row in export.samples if row.uuid == meant]
    recording = replace(_recording(path, rows), sensor_id=meant)
    number = export.examination.get("id", "")
    return Subject(
        recording,
        _of_results(path, results, meant),
        simulated=False,
        examination=str(number) if isinstance(number, int) else "",
    )


def _choose(path: Path, found: set[str], sensor: str) -> str:
    """Return the one sensor that is meant."""
    meant = [uuid for uuid in found if uuid.lower().startswith(sensor)]
    if len(meant) != 1:
        holds = ", ".join(sorted(found)) or "none"
        raise RecordingError(str(path), 0, f"choose one sensor with --sensor; it holds {holds}")
    return meant[0]


def _recording(path: Path, rows: list[_Row]) -> Recording:
    last_s = 0.0
    for row in rows:
        if row.sec_from_start < last_s - REORDER_S:
            reason = f"time goes back from {last_s:g} s to {row.sec_from_start:g} s"
            raise RecordingError(str(path), 0, f"{reason}: the sensor started twice")
        last_s = max(last_s, row.sec_from_start)
    values = [(r.sec_from_start, r.bpm or None, r.uterus, r.spasms) for r in rows]
    table = np.array(values, dtype=np.float64)  # None becomes NaN
    _, first = np.unique(table[:, 0], return_index=True)
    t_s, fhr_bpm, uterus, spasms = table[first].T.copy()
    return Recording(sec_from_start=t_s, fhr_bpm=fhr_bpm, uterus=uterus, spasms=spasms)


def _of_results(path: Path, results: Iterable[Result], sensor: str) -> Findings:
    findings = Findings()
    for result in results:
        if result.sensor_id.lower() == sensor.lower():
            _take(findings, path, 0, {"events": result.events or [], "figo": result.figo})
    return findings


def read_findings(path: Path, sensor: str = "", *, of: Recording, source: Path | Dsn) -> Findings:
    """Read what is known about a recording, as JSON or JSON lines.

    Parameters
    ----------
    path : Path
        What ``ctgkit analyze --json`` prints, a simulation's truth, or results, one per line.
    sensor : str
        Start of the sensor's id, where there are results of several.
    of : Recording
        What they belong to.
    source : Path or Dsn
        Where that was read.

    Raises
    ------
    RecordingError
        When it is not one of these, an event is wrong, naming the line, or they are of another
        recording.
    """
    results, said = _results_and_others(path)
    if results:
        meant = _choose(path, {r.sensor_id for r in results}, sensor.lower())
        findings = _of_results(path, results, meant)
        findings.origin = by_remarks((), meant)
    else:
        findings = Findings()
        for number, item in _about(path, said, of, source):
            _take(findings, path, number, item)
    own = by_remarks(of.comments, of.sensor_id)
    refuse_other(str(path), findings.origin, str(source), own)
    named = findings.recording.partition(".")[0]
    known = bool(own.said()) and findings.origin == own
    if named and named != legible(source.name).partition(".")[0] and not known:
        log.warning("%s: a report of %s, drawn on %s", path, findings.recording, source.name)
    if findings.length_s is not None:
        refuse_longer(str(path), findings.length_s, str(source), float(of.sec_from_start[-1]))
    return findings


_Said = list[tuple[int, dict[str, Any]]]
"""Documents, with the numbers of their lines."""


def _results_and_others(path: Path) -> tuple[list[Result], _Said]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RecordingError(str(path), 0, reason) from error
    results: list[Result] = []
    others: _Said = []
    for number, line in _documents(text):
        try:
            item = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise RecordingError(str(path), number, f"not a JSON object: {error}") from error
        try:
            results.append(decode_result(line))
        except WireError:  # so it is something else
            others.append((number, item))
    return results, others


def _about(path: Path, said: _Said, of: Recording, source: Path | Dsn) -> _Said:
    """Return what is about one recording: of several reports that of the one that is printed."""
    truths = [number for number, item in said if item.get("simulated") is True]
    if len(truths) > 1:
        reason = "the truth of another recording begins here: one file for each"
        raise RecordingError(str(path), truths[1], reason)
    reports = [(n, item) for n, item in said if isinstance(item.get("recording"), str)]
    if len(reports) < 2:
        return said
    names = (legible(source.name), legible(name_of(source, of, 0)))
    meant = [one for one in reports if one[1]["recording"] in names]
    if len(meant) != 1:
        holds = ", ".join(excerpt(item["recording"]) for _, item in reports[:8])
        reason = f"{len(reports)} reports in it, {len(meant)} of {source.name}; they are {holds}"
        raise RecordingError(str(path), 0, reason)
    return meant


def findings_of(document: dict[str, Any], where: str) -> Findings:
    """Return what one document says: a report of ``ctgkit analyze``, or a list of events.

    Raises
    ------
    RecordingError
        When an event is wrong.
    """
    findings = Findings()
    _take(findings, Path(where), 0, document)
    return findings


def _documents(text: str) -> list[tuple[int, str]]:
    """Return the JSON documents with their line numbers: the whole text, or each line."""
    try:
        msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    return [(1, text)]


def _take(findings: Findings, path: Path, number: int, item: dict[str, Any]) -> None:
    """Add what one document says: an event, a list of events, a class, a mark."""
    findings.simulated |= item.get("simulated") is True
    if item.get("simulated") is True:
        findings.origin = by_header(item)
        length_s = item.get("duration_s")
        findings.length_s = float(length_s) if isinstance(length_s, int | float) else None
    elif isinstance(origin := item.get("origin"), dict):
        findings.origin = by_header(origin)
    if isinstance(name := item.get("recording"), str):
        findings.recording = name
    for source, key in ((item.get("guideline"), "level"), (item.get("figo"), "class")):
        if isinstance(source, dict) and isinstance(source.get(key), str):
            findings.figo = excerpt(source[key])
    try:
        _take_baseline(findings, msgspec.convert(item, _Baseline))
        events = msgspec.convert(item.get("events", [item]), list[dict[str, Any]])
        for event in events:
            if event.get("kind") == "baseline":
                level = msgspec.convert(event, Event)
                if level.size is not None:
                    findings.baseline.append(Span(level.onset_s, level.end_s, level.size))
            spelt = {_OURS.get(key, key): value for key, value in event.items()}
            if spelt.get("kind") in EVENT_SIGNS:
                taken = msgspec.convert(spelt, Event)
                findings.events[taken.id or f"{taken.kind} {taken.onset_s:g}"] = taken
    except msgspec.ValidationError as error:
        raise RecordingError(str(path), number, f"a bad event or baseline: {error}") from error


def _take_baseline(findings: Findings, found: _Baseline) -> None:
    held = found.baseline_held_per_minute or [False] * len(found.baseline_per_minute)
    for n, (bpm, is_held) in enumerate(zip(found.baseline_per_minute, held, strict=False)):
        if bpm is not None:
            start_s = found.baseline_from_s + 60 * n
            findings.baseline.append(Span(start_s, start_s + 60, bpm, is_held))
