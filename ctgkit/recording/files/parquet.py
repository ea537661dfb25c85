"""Parquet: the columns ``sensor``, ``sec``, ``bpm``, ``uterus``, ``spasms``; null is no signal.

One row group per sensor. Remarks are in the file's metadata, under ``ctgkit``. In others' files the
columns go by the names that all formats share.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording
from ctgkit.recording.files import arrays as named
from ctgkit.recording.files.channels import Chosen
from ctgkit.recording.files.labels import from_labels, to_labels, unique_ids
from ctgkit.recording.files.opening import too_long
from ctgkit.recording.files.options import ReadOptions, Report

_COLUMNS = {"sec": "sec_from_start", "bpm": "fhr_bpm", "uterus": "uterus", "spasms": "spasms"}
_METADATA = b"ctgkit"
SENSORS_MOST = 100
"""Times as many rows as one recording may have, that a file of several may have: one is in memory
at a time. Chosen: a week of a thousand sensors at 4 Hz."""


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield each sensor's samples, in the order of the file."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(str(path), 0, f"not a Parquet file: {excerpt(str(error))}") from error
    with _by_dictionary(path, file) as file:
        names = list(file.schema_arrow.names)
        index = _index_of_times(file)
        if index and not options.time and options.rate_hz is None:
            options = replace(options, time=index)
        chosen = named.chosen_of(path, names, options, report, what="column")
        _refuse_too_long(path, file, options, SENSORS_MOST if chosen.sensors else 1)
        labels = _labels(path, file)
        groups, mixed = _groups(file, [names[n] for n in chosen.sensors])
        if not groups:
            raise RecordingError(str(path), 0, "no samples")
        for name, numbers in groups.items():
            if sum(file.metadata.row_group(n).num_rows for n in numbers) > 10 * options.max_samples:
                raise too_long(path, options.max_bytes)
            several = not mixed.isdisjoint(numbers)
            needed = _needed(names, chosen, sensors=several)
            table = file.read_row_groups(numbers, columns=needed)
            if several:
                keys = _keys(table, [names[n] for n in chosen.sensors])
                table = table.filter(pa.compute.equal(keys, name))
            if table.num_rows > options.max_samples:
                raise too_long(path, options.max_bytes)
            columns = {
                n: _array(table.column(names[n]))
                for n in range(len(names))
                if names[n] in needed and n not in chosen.sensors
            }
            mine = from_labels(labels.get(name, []))
            if chosen.sensors:
                mine["sensor_id"] = name
            yield from named.recordings_of(path, names, columns, chosen, options, report, mine)


def _refuse_too_long(path: Path, file: pq.ParquetFile, options: ReadOptions, most: int) -> None:
    """Refuse a file, or a part of it that has to be in memory at once, that is too long."""
    about = file.metadata
    together = max((about.row_group(n).num_rows for n in range(about.num_row_groups)), default=0)
    if about.num_rows > options.max_samples * most or together > options.max_samples * min(
        most, 10
    ):
        raise too_long(path, options.max_bytes)


def _index_of_times(file: pq.ParquetFile) -> str:
    """Return the column in which pandas keeps an index of dates, where it has no name."""
    for field in file.schema_arrow:
        if field.name.startswith("__index_level_") and pa.types.is_temporal(field.type):
            return str(field.name)
    return ""


def _labels(path: Path, file: pq.ParquetFile) -> dict[str, list[str]]:
    try:
        labels = json.loads((file.metadata.metadata or {}).get(_METADATA, b"{}"))
    except ValueError as error:
        raise RecordingError(str(path), 0, f"its metadata: {error}") from error
    return labels if isinstance(labels, dict) else {}


def _by_dictionary(path: Path, file: pq.ParquetFile) -> pq.ParquetFile:
    """Return the file with its texts read as numbers of few different ones."""
    texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type)]
    if not texts:
        return file
    with file:
        return pq.ParquetFile(path, read_dictionary=texts, metadata=file.metadata)


def _needed(names: list[str], chosen: Chosen, *, sensors: bool) -> list[str]:
    wanted = [n for probes in chosen.hearts.values() for n in probes]
    wanted += [n for n in (chosen.toco, chosen.spasms, chosen.time) if n is not None]
    return [names[n] for n in [*wanted, *(chosen.sensors if sensors else ())]]


def _groups(file: pq.ParquetFile, sensors: list[str]) -> tuple[dict[str, list[int]], set[int]]:
    """Return sensor -> row groups, in the order in which sensors come first; those of several."""
    groups: dict[str, list[int]] = {}
    mixed: set[int] = set()
    for group in range(file.num_row_groups):
        if not sensors:
            groups.setdefault("", []).append(group)
            continue
        table = file.read_row_group(group, columns=sensors)
        if len(sensors) == 1:
            alone = table.column(sensors[0]).unique()  # in the order in which they come
            table = pa.table({sensors[0]: alone})
        present = dict.fromkeys(_keys(table, sensors).unique().to_pylist())
        if len(present) > 1:
            mixed.add(group)
        for name in present:
            groups.setdefault(name, []).append(group)
    return groups, mixed


def _keys(table: pa.Table, sensors: list[str]) -> pa.ChunkedArray:
    """Return the name of each row's sensor."""
    columns = [table.column(name).cast(pa.string()).fill_null("") for name in sensors]
    if len(columns) == 1:
        return columns[0]
    return pa.compute.binary_join_element_wise(*columns, " ")


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        return np.array(column.cast(pa.timestamp("us")).to_numpy())
    if pa.types.is_timestamp(column.type):
        micros = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        return np.array(micros.to_numpy()) / 1e6
    if pa.types.is_duration(column.type):
        return np.array(column.cast(pa.duration("us")).to_numpy())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_dictionary(column.type):
        return np.array(column.to_pylist(), dtype=object)
    numbers = column.cast(pa.float64())
    if numbers.null_count:
        numbers = numbers.fill_null(float("nan"))
    return np.asarray(numbers.to_numpy())


def write(recordings: Iterable[Recording], path: Path) -> list[str]:
    """Write one row group per sensor; return what was lost."""
    schema = pa.schema([("sensor", pa.string()), *((column, pa.float64()) for column in _COLUMNS)])
    labels: dict[str, list[str]] = {}
    notes: list[str] = []
    few = ["sensor", "bpm", "uterus", "spasms"]  # different values; of times each is another
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=few) as writer:
        for number, one in enumerate(unique_ids(recordings)):
            # the number that one without an id gets is no id, where it is the only one
            name = "" if number == 0 and one.sensor_id == "1" else one.sensor_id
            columns = [pa.array(getattr(one, c), from_pandas=True) for c in _COLUMNS.values()]
            sensor = pa.repeat(name, len(one.sec_from_start))
            writer.write_table(pa.table([sensor, *columns], schema=schema))
            labels[name] = to_labels(replace(one, sensor_id=name))
            notes += ["events"] * bool(one.events)
        writer.add_key_value_metadata({_METADATA.decode(): json.dumps(labels)})
    return notes
