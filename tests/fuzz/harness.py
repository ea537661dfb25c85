"""One call per decoder and reader: what they may raise, and nothing else."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np

from ctgkit import wire
from ctgkit.errors import RecordingError, WireError, excerpt
from ctgkit.recording import Recording, read_recordings, write_recording
from ctgkit.recording.journal import JournalReader
from tests.fuzz.inputs import sample_text

SENSOR = "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d11"
"""Not a real one."""


def decode_everything(data):
    """Give *data* to every decoder of the wire: values, or one WireError."""
    samples, errors = wire.decode_frame(data, SENSOR)
    assert samples or errors
    for sample in samples:
        assert wire.decode_frame(wire.encode_sample(sample), SENSOR) == ([sample], [])
    for error in errors:
        wire.encode_reject(error)
        assert error.reason
    for decode in (
        wire.decode_request, wire.decode_result, wire.decode_result_head, wire.decode_reply,
    ):  # fmt: skip
        with contextlib.suppress(WireError):
            decode(data)
    wire.is_error_result(data)
    assert excerpt(data).isprintable()


class Reading:
    """Reads files of one format."""

    def __init__(self, suffix):
        self._path = Path(tempfile.mkdtemp()) / f"fuzzed{suffix}"

    def __call__(self, data):
        """Read *data* as a file: recordings, or one RecordingError."""
        self._path.write_bytes(data)
        with contextlib.suppress(RecordingError):
            for recording in read_recordings(self._path):
                assert len(recording.sec_from_start)
        if "jsonl" in self._path.name:
            with contextlib.suppress(RecordingError):
                for _ in JournalReader(self._path, skip_bad=True):
                    pass


def written(suffix, seconds=20):
    """Return a small valid file of a format."""
    sec = np.arange(seconds * 4) / 4
    wave = np.round(130 + 10 * np.sin(sec), 1)
    recording = Recording(
        sec_from_start=sec, fhr_bpm=wave, uterus=wave / 4, spasms=sec * 0, sensor_id=SENSOR,
        simulated=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"valid{suffix}"
        write_recording(recording, path)
        return path.read_bytes()


SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".npz", ".edf", ".parquet", ".fhr")
NAMES = ("wire", *SUFFIXES)


def harness(name):
    """Return what takes the bytes."""
    return decode_everything if name == "wire" else Reading(name)


def valid_inputs(name):
    """Return what mutation begins with."""
    if name == "wire":
        one = sample_text(7, sensorID=SENSOR)
        result = wire.encode_error_result("x", "2026-01-01T00:00:00Z")
        return [one, b"[" + one + b"," + one + b"]", b'{"ack":7}', b'{"error":"x","seq":7}', result]
    if name == ".fhr":
        return [bytes([0, 0, 1, 2]) + bytes(range(120, 140)) * 9]
    return [written(name)]
