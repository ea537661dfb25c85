"""Files that others wrote: equal values, gaps and times, or a refusal; no silent difference."""

import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctgkit.errors import RecordingError
from ctgkit.recording import read_recordings
from tests.extras import need
from tests.recording.files import dialects

EXAMPLES = int(os.environ.get("CTGKIT_FILE_EXAMPLES", "0"))
"""In all; `make fuzz` sets it, 0 for the few of every run."""
NEEDS = {"wfdb": ("wfdb", "pandas"), "edf": ("edfio",), "parquet": ("pandas", "pyarrow"),
         "npz": ("pandas",), "csv": ("pandas",), "xlsx": ("pandas", "openpyxl", "python_calamine"),
         }  # fmt: skip


def most_are_read(count, share, read):
    """Have *read* tell, for many writers' luck and truths, whether a file was read or refused.

    There are *count* of them, or that share of those that `make fuzz` asks for.
    """
    tally = [0, 0]

    @settings(
        max_examples=round(EXAMPLES * share) or count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.integers(0, 2**48))
    def check(seed):
        rng = np.random.default_rng(seed)
        tally[read(rng, dialects.Truth(rng))] += 1

    check()
    assert tally[1] > 0.9 * sum(tally), tally  # refusing everything is no reader


def agrees(path, truth, tolerance=1e-6):
    """Compare what is read with what was written; True when it was read."""
    try:
        (one,) = read_recordings(path)
    except RecordingError:
        return False
    sec = one.sec_from_start - one.sec_from_start[0] + truth.sec[0]
    for mine, theirs in ((one.fhr_bpm, truth.fhr), (one.uterus, truth.toco)):
        read, written = ~np.isnan(mine), ~np.isnan(theirs)
        assert read.sum() == written.sum()
        np.testing.assert_allclose(sec[read], truth.sec[written], atol=2e-3)
        np.testing.assert_allclose(mine[read], theirs[written], atol=tolerance)
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("foreign")


def test_tables_of_text_in_any_dialect(folder):
    """Separators, decimal commas, encodings, names, times, marks for no signal, disorder."""

    def read(rng, truth):
        data, suffix = dialects.text_dialect(rng, truth)
        path = folder / f"trace{suffix}"
        path.write_bytes(data)
        return agrees(path, truth)

    most_are_read(250, 0.65, read)


def test_two_files_by_clocks_and_in_segments(folder):
    """The toco stays beside its heart rate, and what lies between segments stays a gap."""

    def read(rng, truth):
        place = dialects.two_files(rng, truth, folder / "two")
        try:
            (one,) = read_recordings(place)
        except RecordingError:
            return False
        finally:
            shutil.rmtree(place)
        beside = dict(zip(one.sec_from_start, one.uterus, strict=True))
        there = ~np.isnan(one.fhr_bpm)
        np.testing.assert_allclose(one.fhr_bpm[there], truth.fhr[~np.isnan(truth.fhr)])
        first_s = one.sec_from_start[there][0]
        for sec, toco in zip(truth.sec, truth.toco, strict=True):
            at_s = min(beside, key=lambda t: abs(t - first_s - sec))
            assert abs(at_s - first_s - sec) < 2e-3
            assert beside[at_s] == pytest.approx(toco)
        return True

    most_are_read(40, 0.05, read)


@pytest.mark.parametrize("writer", ["wfdb", "edf", "npz", "parquet", "csv", "xlsx"])
@pytest.mark.filterwarnings("ignore")
def test_files_of_other_libraries(folder, writer):
    """wfdb-python, edfio, pandas, numpy, openpyxl."""
    need(*NEEDS[writer])

    def read(rng, truth):
        if writer in ("wfdb", "edf"):
            truth.sec = np.round(np.arange(len(truth.sec)) / truth.rate_hz, 6)
        if writer == "wfdb":
            path, tolerance = dialects.wfdb_record(rng, truth, folder), 0.0051
        elif writer == "edf":
            path, tolerance = dialects.edf_file(rng, truth, folder / "rec.edf"), 0.0051
        else:
            path, tolerance = dialects.frame_file(rng, truth, folder / f"t.{writer}"), 1e-6
        return agrees(path, truth, tolerance)

    most_are_read(40, 0.05, read)
