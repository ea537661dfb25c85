"""Files and folders -> truth and results."""

import gzip
import json
import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ctgkit.analysis import AnalyzerSettings, analyze
from ctgkit.errors import RecordingError, WireError
from ctgkit.events import Event, Kind
from ctgkit.recording import Recording, read_recordings
from ctgkit.recording.files.opening import GZIP_MAGIC, is_gzip
from ctgkit.recording.files.options import Report
from ctgkit.recording.files.registry import format_of
from ctgkit.recording.format import MARK
from ctgkit.recording.journal import SUFFIXES, JournalReader
from ctgkit.recording.origin import (
    Origin,
    by_header,
    by_remarks,
    differing,
    refuse_longer,
    refuse_other,
)
from ctgkit.score.results import Listener, Results, from_report, read_result
from ctgkit.score.scoring import Score, score
from ctgkit.score.truth import EDGE_S, Truth, by_experts, simulated

log = logging.getLogger(__name__)

EXPERT_SUFFIX = ".expert.json"
TRUTH_SUFFIXES = (EXPERT_SUFFIX, *SUFFIXES, ".npz")
"""The files of a folder that may hold truth."""


class Case(NamedTuple):
    """A truth, and where it was read."""

    truth: Truth
    path: Path
    sensor_id: str = ""
    """Whose it is, where that is known."""
    origin: Origin = Origin()


class _ExpertEvent(msgspec.Struct):
    type: Kind
    start_s: float
    end_s: float


class _Expert(msgspec.Struct):
    expert_events: list[_ExpertEvent]
    record: str = ""
    baseline_per_minute_automatic_methods: dict[str, list[float | None] | None] | None = None


def stem(path: Path) -> str:
    """Return the name of a file without any of its endings."""
    return path.name.partition(".")[0]


def read_cases(path: Path) -> list[Case]:
    """Return what is true, of one file or of a folder of them, by name.

    Raises
    ------
    RecordingError
        When a file can't be read, or there is no truth in *path*.
    """
    if not path.is_dir():
        return list(_cases(path))
    cases: list[Case] = []
    for file in sorted(path.iterdir()):
        if file.name.lower().endswith(TRUTH_SUFFIXES):
            for case in _cases(file, may_lack=True):
                _add(case, cases)
    if not cases:
        endings = " ".join("*" + suffix for suffix in TRUTH_SUFFIXES)
        raise RecordingError(str(path), 0, f"no truth in any file of {endings}")
    return cases


def _add(case: Case, cases: list[Case]) -> None:
    """Add a truth, unless it is there already: of the same, that beside its samples stays."""
    for n, other in enumerate(cases):
        if (
            stem(other.path) == stem(case.path)
            and case.origin.said()
            and case.origin == other.origin
        ):
            kept, left = (other, case) if _is_recording(other.path) else (case, other)
            cases[n] = kept
            log.info("%s: the same truth as in %s", left.path.name, kept.path.name)
            return
    cases.append(case)


def _cases(path: Path, *, may_lack: bool = False) -> Iterator[Case]:
    if path.name.endswith(".json"):
        yield Case(_by_experts(path), path)
        return
    if path.name.endswith(SUFFIXES) and MARK not in (header := _header(path)):
        events = _truth_lines(path)
        sensor_id = str(header.get("sensor_id", ""))
        yield Case(_simulated(path, stem(path), events), path, sensor_id, by_header(header))
        return
    recordings = [one for one in read_recordings(path) if one.events]
    if not recordings and not may_lack:
        raise RecordingError(str(path), 0, "holds no truth")
    for one in recordings:
        name = stem(path) if len(recordings) == 1 else one.sensor_id
        origin = by_remarks(one.comments, one.sensor_id)
        yield Case(_simulated(path, name, one.events), path, one.sensor_id, origin)


def _by_experts(path: Path) -> Truth:
    try:
        expert = msgspec.json.decode(_bytes(path), type=_Expert)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordingError(str(path), 0, f"not zones drawn by experts: {error}") from error
    events = [Event(kind=e.type, onset_s=e.start_s, end_s=e.end_s) for e in expert.expert_events]
    methods = (expert.baseline_per_minute_automatic_methods or {}).values()
    levels = [series for series in methods if series is not None]
    return by_experts(expert.record or stem(path), events, levels)


def _simulated(path: Path, name: str, events: Iterable[Event]) -> Truth:
    try:
        return simulated(name, list(events))
    except ValueError as error:
        raise RecordingError(str(path), 0, str(error)) from error


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(GZIP_MAGIC) else data
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(str(path), 0, getattr(error, "strerror", "") or str(error)) from error


def _header(path: Path) -> dict[str, Any]:
    try:
        with gzip.open(path) if is_gzip(path) else path.open("rb") as file:
            first = json.loads(file.readline())
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(str(path), 0, getattr(error, "strerror", "") or str(error)) from error
    except ValueError as error:
        raise RecordingError(str(path), 1, f"not JSON: {error}") from error
    return first if isinstance(first, dict) else {}


def _truth_lines(path: Path) -> list[Event]:
    events = []
    for number, line in enumerate(_bytes(path).splitlines()[1:], 2):
        try:
            events.append(msgspec.json.decode(line, type=Event))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordingError(str(path), number, f"not an event: {error}") from error
    return events


def read_results(path: Path) -> dict[str, Results]:
    """Return what an analyzer said, by the name of the file, or by sensor.

    Parameters
    ----------
    path : Path
        A report (JSON), a recording that holds results, or a folder of either.

    Raises
    ------
    RecordingError
        When a file can't be read or a recording holds no results.
    """
    if not path.is_dir():
        return _results(path)
    found: dict[str, Results] = {}
    for file in sorted(path.iterdir()):
        is_report = file.name.endswith(".json") and not file.name.endswith(EXPERT_SUFFIX)
        if is_report or (file.name.endswith(SUFFIXES) and MARK in _header(file)):
            found |= _results(file)
    return found


def _results(path: Path) -> dict[str, Results]:
    if path.name.endswith(".json"):
        try:
            return {stem(path): from_report(_bytes(path))}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordingError(str(path), 0, f"not a report: {error}") from error
    if not path.name.endswith(SUFFIXES):
        raise RecordingError(
            str(path), 0, "holds no results: give a report (JSON) or a recorded stream of results"
        )
    listeners = _heard(path)
    if not listeners:
        raise RecordingError(
            str(path), 0, "holds no results: record a viewer's stream with `ctgkit record --url`"
        )
    heard = {
        sensor_id: replace(listener.results(), origin=by_remarks((), sensor_id))
        for sensor_id, listener in listeners.items()
    }
    return {stem(path): next(iter(heard.values()))} if len(heard) == 1 else heard


def _heard(path: Path) -> dict[str, Listener]:
    """Return what a viewer heard of each sensor, or else the ML service's clients."""
    heard: dict[str, dict[str, Listener]] = {"v": {}, "m": {}}
    viewer, unreadable = "", 0
    for line in JournalReader(path):
        kind = line.link[:1]
        if line.what != "<" or kind not in heard:
            continue
        if kind == "v":
            viewer = viewer or line.link
            if line.link != viewer:
                continue  # of several viewers the first counts
        try:
            result = read_result(line.frame)
        except WireError:
            unreadable += 1
            continue
        heard[kind].setdefault(result.sensor_id.lower(), Listener()).take(result)
    if unreadable:
        log.warning("%s: %d results can't be read and are left out", path, unreadable)
    return heard["v"] or heard["m"]


def analyzed(case: Case, lag_s: float) -> Results:
    """Return what our own analyzer says about the recording that belongs to a truth.

    Raises
    ------
    RecordingError
        When there is none beside it.
    """
    report = analyze(_recording(case), AnalyzerSettings(final_after_s=lag_s))
    return from_report(msgspec.json.encode(report.as_dict()))


def score_ours(case: Case, lag_s: float) -> Score:
    """Return the score of :func:`analyzed`."""
    return score(case.truth, analyzed(case, lag_s))


def _recording(case: Case) -> Recording:
    path = case.path
    candidates = [path] if _is_recording(path) else sorted(path.parent.iterdir())
    for candidate in candidates:
        if stem(candidate) == stem(path) and _is_recording(candidate):
            # what held the truth was read, and told of, before
            report = Report() if candidate == path else None
            one = _own(case, candidate, list(read_recordings(candidate, report=report)))
            _refuse_another(case, candidate, one)
            return one
    reason = f"no recording {stem(path)}.csv.gz or the like beside it to analyse: give RESULTS"
    raise RecordingError(str(path), 0, reason)


def _own(case: Case, path: Path, recordings: list[Recording]) -> Recording:
    """Return the recording of a truth, of all in a file."""
    if len(recordings) == 1:
        return recordings[0]
    same = [one for one in recordings if one.sensor_id == case.sensor_id != ""]
    if not same and case.origin.said():
        same = [
            one
            for one in recordings
            if (known := by_remarks(one.comments, one.sensor_id)).said()
            and differing(case.origin, known) is None
        ]
    if len(same) != 1:
        reason = f"{len(recordings)} recordings in it, {len(same)} of them that of {case.path}"
        raise RecordingError(str(path), 0, reason)
    return same[0]


def _refuse_another(case: Case, path: Path, one: Recording) -> None:
    """Refuse a recording that isn't the one of which a truth speaks, or is cut."""
    refuse_other(str(case.path), case.origin, str(path), by_remarks(one.comments, one.sensor_id))
    length_s, end_s = case.truth.length_s, float(one.sec_from_start[-1])
    if length_s is None:
        return
    refuse_longer(str(case.path), length_s, str(path), end_s)
    if end_s < length_s - EDGE_S:
        reason = f"ends at {end_s:g} s, its truth {case.path} at {length_s:g} s: not the whole"
        raise RecordingError(str(path), 0, reason)


def _is_recording(path: Path) -> bool:
    if path.is_dir() or path.name.endswith(".json"):
        return False
    try:
        return not (format_of(path).name == "native" and MARK not in _header(path))
    except RecordingError:
        return False


def compare(cases: Iterable[Case], results: dict[str, Results], results_path: Path) -> list[Score]:
    """Return a score for each truth, paired with results by name or by sensor.

    One truth and one result are a pair whatever they are called.

    Raises
    ------
    RecordingError
        When both say of which recording they are, and it isn't the same.
    """
    listed = list(cases)
    only = next(iter(results.values())) if len(listed) == len(results) == 1 else None
    scores = []
    for case in listed:
        said = only or results.get(case.truth.name) or results.get(case.sensor_id)
        if said is not None:
            refuse_other(str(case.path), case.origin, str(results_path), said.origin)
        scores.append(
            Score(name=case.truth.name, said=False) if said is None else score(case.truth, said)
        )
    return scores
