"""EDF+ files: ``FHR``, ``UC``, and a ``Quality`` signal, because EDF has no mark for no value.

Resolution 0.01; values beyond ±327 are stored with 0.1. In Quality, 1 is a heart rate, 2 a toco,
4 a contraction intensity, 8 a sample at all. Events are annotations, and so are remarks.
"""

import io
import itertools
import math
import re
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError
from ctgkit.events import Event, Kind
from ctgkit.recording import Recording
from ctgkit.recording.files.channels import Chosen
from ctgkit.recording.files.edfraw import (
    ANNOTATIONS,
    Note,
    RawEdf,
    begins_of,
    notes_of,
    onsets_of,
    physical,
    read_header,
    records_of,
    times_of,
)
from ctgkit.recording.files.grid import on_grid
from ctgkit.recording.files.labels import from_labels, to_labels
from ctgkit.recording.files.opening import too_long
from ctgkit.recording.files.options import ReadOptions, Report
from ctgkit.recording.files.signals import Signal, chosen_of, recordings_of, without_absent
from ctgkit.recording.files.start import add_start, wall_time

if TYPE_CHECKING:
    import edfio

_STEPS = (0.01, 0.1, 1.0)
_DIGITAL = (-32768, 32767)
_SIGNALS = {"fhr_bpm": ("FHR", "bpm", 1), "uterus": ("UC", "", 2), "spasms": ("SPASMS", "", 4)}
_PRESENT = 8
_QUALITY = "Quality"
_REMARK = re.compile(r"ctgkit remark \d+: ")
_FIRST = "ctgkit first_sec: "
_EVENT = re.compile(
    r"(?P<kind>[a-z_]+)(/(?P<subtype>\S+))?( size=(?P<size>\S+))?( id=(?P<id>\S+))?"
)
_KINDS = frozenset(get_args(Kind))


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield the recordings of a file: one, or one per fetus."""
    raw = read_header(path, report)
    shown = [
        n for n, one in enumerate(raw.signals) if one.label not in (_QUALITY, ANNOTATIONS) and one.n
    ]
    names = [raw.signals[n].label for n in shown]
    picked = chosen_of(path, names, [raw.signals[n].unit for n in shown], options, report)
    records = records_of(path, raw, report)
    if records.size > options.max_samples * 4:
        raise too_long(path, options.max_bytes)
    onsets = onsets_of(path, raw, records, report)
    labels, first_s = _labels(notes_of(raw, records), raw, begins_of(raw, records), report)
    signals: dict[int, Signal] = {}
    for place in {*itertools.chain(*picked.hearts.values()), picked.toco, picked.spasms}:
        if place is not None:
            one = raw.signals[shown[place]]
            sec = np.round(first_s + times_of(raw, one, onsets), 9)
            signals[place] = Signal(one.label, one.unit, sec, physical(one, records))
    quality = next((one for one in raw.signals if one.label == _QUALITY), None)
    if quality is None:
        _leave_padding(signals, picked, raw, report)
        yield from recordings_of(path, signals, picked, options, report, labels)
        return
    bits = np.round(physical(quality, records)).astype(int)
    for channel, places in (("fhr_bpm", itertools.chain(*picked.hearts.values())),
                            ("uterus", [picked.toco]), ("spasms", [picked.spasms])):  # fmt: skip
        bit = _SIGNALS[channel][2]
        for place in places:
            if place is not None and len(signals[place].values) == len(bits):
                signals[place].values[bits & bit == 0] = np.nan
    present = (bits & _PRESENT) > 0
    if not present.any():
        raise RecordingError(str(path), 0, "no samples")
    for whole in recordings_of(path, signals, picked, options, report, labels):
        same = len(whole.sec_from_start) == len(present)
        yield without_absent(whole, present) if same else whole


def _leave_padding(signals: dict[int, Signal], picked: Chosen, raw: RawEdf, report: Report) -> None:
    """Read the zeros that fill up the last record as no value, not as a toco of 0."""
    if picked.toco is None:
        return
    toco = signals[picked.toco].values
    ends_s = []
    for place, one in signals.items():
        filled = np.flatnonzero(one.values != 0)
        last = int(filled[-1]) if len(filled) else -1
        if place == picked.toco and last < 0:
            return  # a toco of 0 throughout is one
        ends_s.append(one.sec[last] if last >= 0 else 0.0)
    sec = signals[picked.toco].sec
    behind = (sec > max(ends_s) + 1e-9) & (sec >= sec[-1] - raw.record_s + 1e-9)
    n_last = len(toco) // max(1, round((sec[-1] - sec[0]) / raw.record_s))
    if behind.any() and behind[-1] and behind.sum() < n_last:
        toco[behind] = np.nan
        report.note(f"the last {behind.sum()} values of the toco are padding: no signal")


def _labels(
    notes: list[Note], raw: RawEdf, begins_s: float, report: Report
) -> tuple[dict[str, Any], float]:
    """Return what annotations and header say, and the time of the first sample, seconds.

    The header holds whole seconds: *begins_s* is what the first record begins after them.
    """
    first_s, remarks, events = 0.0, [], []
    for note in notes:
        if note.text.startswith(_FIRST):
            first_s = float(note.text.removeprefix(_FIRST))
        elif remark := _REMARK.match(note.text):
            remarks.append(note.text[remark.end() :])
    for note in notes:
        match = _EVENT.fullmatch(note.text)
        if match and match["kind"] in _KINDS:
            onset_s = note.onset_s + first_s
            events.append(
                Event(
                    kind=cast(Kind, match["kind"]),
                    onset_s=onset_s,
                    end_s=onset_s + note.duration_s,
                    subtype=match["subtype"] or "",
                    size=float(match["size"]) if match["size"] else None,
                    id=match["id"] or "",
                )
            )
        elif not note.text.startswith("ctgkit "):
            remarks.append(f"{note.onset_s:g} s: {note.text}")
    if (who := raw.patient) and who.replace("X", "").strip():
        remarks.append(f"patient: {who}")
    labels = from_labels(remarks)
    if raw.started is not None:
        add_start(labels, raw.started + timedelta(seconds=begins_s), first_s, report)
    return labels | {"events": tuple(events)}, first_s


def write(recording: Recording, path: Path) -> list[str]:
    """Write one file; return what was lost."""
    import edfio

    try:
        grid = on_grid(recording)
    except ValueError as error:
        raise RecordingError(str(path), 0, str(error)) from error
    notes = list(grid.notes)
    rate = (1 / Fraction(grid.period_s).limit_denominator(10_000)).limit_denominator(1000)
    if abs(float(rate) * grid.period_s - 1) * len(grid.fhr_bpm) > 0.1:
        notes.append(f"the exact rate: {float(rate):g} Hz for {1 / grid.period_s:g} Hz")
    # a data record is a whole number of seconds that holds a whole number of samples
    per_record, record_s = rate.numerator, rate.denominator
    n = math.ceil(len(grid.fhr_bpm) / per_record) * per_record
    quality = np.zeros(n)
    quality[: len(grid.present)] += np.where(grid.present, _PRESENT, 0)
    signals = []
    for channel, (label, unit, bit) in _SIGNALS.items():
        values = getattr(grid, channel)
        there = ~np.isnan(values)
        if channel == "spasms" and not there.any():
            continue
        quality[: len(values)] += np.where(there, bit, 0)
        data = np.zeros(n)
        data[: len(values)] = np.where(there, values, 0.0)
        step = next((s for s in _STEPS if np.abs(data).max() < _DIGITAL[1] * s), 0.0)
        if not step:
            raise RecordingError(str(path), 0, f"a {label} does not fit into 16 bits")
        if np.abs(data / step - np.round(data / step)).max() > 1e-6:
            notes.append(f"{label} finer than {step:g}")
        signals.append(_signal(data, rate, label, unit, step))
    signals.append(_signal(quality, rate, _QUALITY, "", 1.0))
    start = wall_time(recording.started, grid.first_s)
    if start is not None and not 1985 <= start.year <= 2084:
        notes.append("the start: EDF holds the years 1985 to 2084")
        start = None
    file = io.BytesIO()  # into a real one numpy writes without saying why it can't
    edfio.Edf(
        signals,
        recording=edfio.Recording(
            startdate=start.date() if start else None, equipment_code="CTGKit"
        ),
        starttime=start.time() if start else None,
        data_record_duration=record_s,
        annotations=_annotations(recording, grid.first_s, notes),
    ).write(file)
    path.write_bytes(file.getbuffer())
    return notes


def _signal(
    data: NDArray[np.float64], rate: Fraction, label: str, unit: str, step: float
) -> "edfio.EdfSignal":
    import edfio

    low, high = (round(end * step, 2) for end in _DIGITAL)
    return edfio.EdfSignal(
        np.round(data / step) * step,
        float(rate),
        label=label,
        physical_dimension=unit,
        physical_range=(low, high),
        digital_range=_DIGITAL,
    )


def _annotations(
    recording: Recording, first_s: float, notes: list[str]
) -> "list[edfio.EdfAnnotation]":
    import edfio

    written = [  # numbered, because what begins at one time is sorted by its text
        edfio.EdfAnnotation(0.0, None, f"ctgkit remark {n:03d}: {text}")
        for n, text in enumerate(to_labels(recording), 1)
    ]
    if first_s:
        written.append(edfio.EdfAnnotation(0.0, None, f"{_FIRST}{first_s!r}"))
    for event in recording.events:
        text: str = event.kind
        text += f"/{event.subtype}" if event.subtype else ""
        text += f" size={event.size!r}" if event.size is not None else ""
        text += f" id={event.id}" if event.id else ""
        if event.onset_s < first_s:
            notes.append("events before the first sample")
            continue
        if event.details or event.peak_s is not None or event.linked_contraction:
            notes.append("details of events: peak, link, and what else was noted")
        onset_s, end_s = event.onset_s - first_s, event.end_s - first_s
        written.append(edfio.EdfAnnotation(onset_s, max(0.0, end_s - onset_s), text))
    return written
