"""Parquet: the columns ``sensor``, ``sec``, ``bpm``, ``uterus``, ``spasms``; null is no signal.

One row group per sensor. Remarks are in the file's metadata, under ``ctgkit``.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording
from ctgkit.recording.files.labels import from_labels, to_labels

_COLUMNS = {"sec": "sec_from_start", "bpm": "fhr_bpm", "uterus": "uterus", "spasms": "spasms"}
_METADATA = b"ctgkit"


def read(path: Path) -> Iterator[Recording]:
    """Yield each sensor's samples."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(str(path), 0, f"not a Parquet file: {excerpt(str(error))}") from error
    with file:
        if absent := {"sec", "bpm"} - set(file.schema_arrow.names):
            raise RecordingError(str(path), 0, f"no column named {sorted(absent)[0]}")
        metadata = file.metadata.metadata or {}
        labels = json.loads(metadata.get(_METADATA, b"{}"))
        sensors = ["sensor"] * ("sensor" in file.schema_arrow.names)
        groups: dict[str, list[int]] = {}
        for group in range(file.num_row_groups):
            names = file.read_row_group(group, columns=sensors) if sensors else None
            found = set(names.column(0).to_pylist()) if names is not None else {""}
            for name in found:
                groups.setdefault(str(name), []).append(group)
        if not groups:
            raise RecordingError(str(path), 0, "no samples")
        for name, numbers in groups.items():
            table = file.read_row_groups(numbers)
            if sensors:
                table = table.filter(pa.compute.equal(table.column("sensor"), name))
            yield _recording(path, table, name, labels.get(name, []))


def _recording(path: Path, table: pa.Table, name: str, labels: list[str]) -> Recording:
    arrays: dict[str, Any] = {}
    for column, channel in _COLUMNS.items():
        values = np.full(table.num_rows, np.nan)
        if column in table.column_names:
            numbers = table.column(column).cast(pa.float64())
            values = np.array(numbers.fill_null(float("nan")).to_numpy())
        arrays[channel] = values
    arrays["fhr_bpm"][arrays["fhr_bpm"] == 0] = np.nan
    sec = arrays["sec_from_start"]
    if not (len(sec) and np.isfinite(sec).all() and sec[0] >= 0 and (np.diff(sec) > 0).all()):
        raise RecordingError(str(path), 0, "times must be finite, >= 0 and increasing")
    return Recording(**arrays, **({"sensor_id": name} | from_labels(labels)))


def write(recordings: Iterable[Recording], path: Path) -> list[str]:
    """Write one row group per sensor; return what was lost."""
    schema = pa.schema([("sensor", pa.string()), *((column, pa.float64()) for column in _COLUMNS)])
    labels: dict[str, list[str]] = {}
    notes: list[str] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for number, one in enumerate(recordings, 1):
            name = one.sensor_id or (str(number) if number > 1 else "")
            columns = [pa.array(getattr(one, c), from_pandas=True) for c in _COLUMNS.values()]
            sensor = pa.array([name] * len(one.sec_from_start), pa.string())
            writer.write_table(pa.table([sensor, *columns], schema=schema))
            labels[name] = to_labels(one)
            notes += ["events"] * bool(one.events)
        writer.add_key_value_metadata({_METADATA.decode(): json.dumps(labels)})
    return notes
