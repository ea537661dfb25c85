"""EDF+ files: ``FHR``, ``UC``, and a ``Quality`` signal, because EDF has no mark for no value.

Resolution 0.01; values beyond ±327 are stored with 0.1. In Quality, 1 is a heart rate, 2 a toco,
4 a contraction intensity, 8 a sample at all. Events are annotations, and so are remarks.
"""

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast, get_args

import edfio
import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError, excerpt
from ctgkit.events import Event, Kind
from ctgkit.recording import Recording
from ctgkit.recording.files.grid import on_grid, to_recording
from ctgkit.recording.files.labels import from_labels, to_labels

_STEPS = (0.01, 0.1, 1.0)
_DIGITAL = (-32768, 32767)
_SIGNALS = {"fhr_bpm": ("FHR", "bpm", 1), "uterus": ("UC", "", 2), "spasms": ("SPASMS", "", 4)}
_PRESENT = 8
_QUALITY = "Quality"
_NAMES = {
    "fhr_bpm": ("fhr", "bpm", "fhr1", "hr"),
    "uterus": ("uc", "toco", "uterus", "ua"),
    "spasms": ("spasms",),
}
_REMARK = re.compile(r"ctgkit remark \d+: ")
_FIRST = "ctgkit first_sec: "
_EVENT = re.compile(
    r"(?P<kind>[a-z_]+)(/(?P<subtype>\S+))?( size=(?P<size>\S+))?( id=(?P<id>\S+))?"
)
_KINDS = frozenset(get_args(Kind))


def read(path: Path) -> Iterator[Recording]:
    """Yield the one recording of a file."""
    try:
        edf = edfio.read_edf(path)
        signals = {signal.label.strip().lower(): signal for signal in edf.signals}
        annotations = list(edf.annotations)
    except Exception as error:  # the library raises what it likes
        raise RecordingError(str(path), 0, f"not an EDF file: {excerpt(str(error))}") from error
    found = {
        channel: next((signals[name] for name in names if name in signals), None)
        for channel, names in _NAMES.items()
    }
    fhr = found["fhr_bpm"]
    if fhr is None:
        reason = f"no signal labelled FHR; it has {', '.join(s.label for s in edf.signals)}"
        raise RecordingError(str(path), 0, reason)
    channels = {}
    for channel, signal in found.items():
        if signal is None:
            continue
        if len(signal.data) != len(fhr.data):
            reason = f"{signal.label} has another rate than {fhr.label}"
            raise RecordingError(str(path), 0, reason)
        channels[channel] = np.round(np.array(signal.data, dtype=float), 6)
    quality = signals.get(_QUALITY.lower())
    present = None
    if quality is not None:
        bits = np.round(quality.data).astype(int)
        for channel, (_, _, bit) in _SIGNALS.items():
            if channel in channels:
                channels[channel][bits & bit == 0] = np.nan
        present = (bits & _PRESENT) > 0
    yield _recording(path, channels, len(fhr.data) / edf.duration, present, annotations)


def _recording(
    path: Path,
    channels: dict[str, NDArray[np.float64]],
    rate_hz: float,
    present: NDArray[np.bool_] | None,
    annotations: list[Any],
) -> Recording:
    first_s, remarks, events = 0.0, [], []
    for note in annotations:
        text = note.text
        if text.startswith(_FIRST):
            first_s = float(text.removeprefix(_FIRST))
        elif remark := _REMARK.match(text):
            remarks.append(text[remark.end() :])
    for note in annotations:
        match = _EVENT.fullmatch(note.text)
        if match and match["kind"] in _KINDS:
            onset_s = note.onset + first_s
            events.append(
                Event(
                    kind=cast(Kind, match["kind"]),
                    onset_s=onset_s,
                    end_s=onset_s + (note.duration or 0.0),
                    subtype=match["subtype"] or "",
                    size=float(match["size"]) if match["size"] else None,
                    id=match["id"] or "",
                )
            )
        elif not note.text.startswith("ctgkit "):
            remarks.append(f"{note.onset:g} s: {note.text}")
    period_s = float(1 / Fraction(rate_hz).limit_denominator(1000))
    arrays = to_recording(channels, period_s, first_s, present)
    if not len(arrays["sec_from_start"]):
        raise RecordingError(str(path), 0, "no samples")
    return Recording(**arrays, **from_labels(remarks), events=tuple(events))


def write(recording: Recording, path: Path) -> list[str]:
    """Write one file; return what was lost."""
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
            raise RecordingError(str(path), 0, f"a {label} doesn't fit into 16 bits")
        if np.abs(data / step - np.round(data / step)).max() > 1e-6:
            notes.append(f"{label} finer than {step:g}")
        signals.append(_signal(data, rate, label, unit, step))
    signals.append(_signal(quality, rate, _QUALITY, "", 1.0))
    edfio.Edf(
        signals,
        recording=edfio.Recording(equipment_code="CTGKit"),
        data_record_duration=record_s,
        annotations=_annotations(recording, grid.first_s, notes),
    ).write(path)
    return notes


def _signal(
    data: NDArray[np.float64], rate: Fraction, label: str, unit: str, step: float
) -> edfio.EdfSignal:
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
) -> list[edfio.EdfAnnotation]:
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
