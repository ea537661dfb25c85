"""NumPy archives: ``sec``, ``bpm``, ``uterus``, ``spasms``, and what is known besides.

Everything a Recording has is held, exactly. Of others' archives the arrays go by the names that
all formats share; a number ``fs`` may stand for times.
"""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError, excerpt
from ctgkit.events import Event
from ctgkit.recording import Recording
from ctgkit.recording.files import arrays as named
from ctgkit.recording.files.labels import from_labels, to_labels
from ctgkit.recording.files.names import channel_of
from ctgkit.recording.files.opening import too_long, unpacked_most
from ctgkit.recording.files.options import MAX_MB, ReadOptions, Report

_TRUTH = frozenset(("labels", "events_jsonl", "simulated"))
"""What our own archives hold besides samples."""
_event_decoder = msgspec.json.Decoder(Event)


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield the recordings of an archive; ``ctgkit generate`` writes such files too."""
    try:
        stored = _load(path, options)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = f"not an NPZ archive: {excerpt(str(error))}"
        raise RecordingError(str(path), 0, reason) from error
    names = [name for name in stored if name not in _TRUTH and stored[name].ndim]
    flat = [name for name in names if stored[name].ndim == 1]
    report.leave(*(f"{name} (no column)" for name in names if stored[name].ndim != 1))
    has_time = any(channel_of(name).role == "time" for name in flat)
    if options.rate_hz is None and not options.time and not has_time:
        options = replace(options, rate_hz=named.rate_among(stored))
    chosen = named.chosen_of(path, flat, options, report, what="array")
    used = [*(n for probes in chosen.hearts.values() for n in probes), chosen.toco, chosen.spasms]
    columns = {n: stored[flat[n]] for n in [*used, chosen.time, *chosen.sensors] if n is not None}
    if len({len(values) for values in columns.values()}) > 1:
        lengths = ", ".join(f"{flat[n]} {len(values)}" for n, values in columns.items())
        raise RecordingError(str(path), 0, f"its arrays are not of one length: {lengths}")
    labels = _labels(path, stored)
    if not chosen.sensors:
        yield from named.recordings_of(path, flat, columns, chosen, options, report, labels)
        return
    sensors = np.asarray(stored[flat[chosen.sensors[0]]]).astype(str)
    for name in dict.fromkeys(sensors.tolist()):  # in the order of the file
        own = {n: values[sensors == name] for n, values in columns.items()}
        mine = labels | {"sensor_id": name}
        yield from named.recordings_of(path, flat, own, chosen, options, report, mine)


def _load(path: Path, options: ReadOptions) -> dict[str, NDArray[Any]]:
    """Return the arrays; none that would take more memory than allowed is unpacked."""
    most = unpacked_most(path, options.max_bytes, MAX_MB << 20)
    stored: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
        if not members:
            raise ValueError("no array in it")
        if sum(one.file_size for one in members) > most:
            raise too_long(path, most)
        for member in members:
            with archive.open(member) as file:
                stored[member.filename.removesuffix(".npy")] = _array(path, file, member, most)
    return stored


def _array(path: Path, file: IO[bytes], member: zipfile.ZipInfo, most: int) -> NDArray[Any]:
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)  # fmt: skip
    if read_header is None:
        raise ValueError(f"array {excerpt(member.filename)!r} of an unknown version")
    shape, fortran, dtype = read_header(file)
    n_bytes = int(np.prod([int(side) for side in shape], dtype=object)) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"array {excerpt(member.filename)!r} holds Python objects")
    if n_bytes > min(most, member.file_size):
        raise ValueError(f"array {excerpt(member.filename)!r} is shorter than it says")
    data = np.frombuffer(file.read(n_bytes), dtype=dtype)
    return data.reshape(shape, order="F" if fortran else "C")


def _labels(path: Path, stored: dict[str, NDArray[Any]]) -> dict[str, Any]:
    lines = [str(line) for line in np.atleast_1d(stored.get("labels", np.array([], dtype=str)))]
    if "simulated" in stored and "labels" not in stored:
        lines.append(str(stored["simulated"]))
    told = str(stored.get("events_jsonl", "")).encode().splitlines()
    try:
        events = tuple(_event_decoder.decode(line) for line in told if b'"kind"' in line)
    except msgspec.MsgspecError as error:
        raise RecordingError(str(path), 0, f"events_jsonl: {error}") from error
    return from_labels(lines) | {"events": events}


def write(recording: Recording, path: Path) -> list[str]:
    """Write one file."""
    events = b"\n".join(msgspec.json.encode(event) for event in recording.events)
    with path.open("wb") as file:  # of a name numpy makes another, where it ends in .NPZ
        np.savez_compressed(
            file,
            sec=recording.sec_from_start,
            bpm=recording.fhr_bpm,
            uterus=recording.uterus,
            spasms=recording.spasms,
            labels=np.array(to_labels(recording), dtype=str),
            events_jsonl=events.decode(),
        )
    return []
