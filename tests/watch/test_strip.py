"""Samples become dots where they belong, and never a line over a gap."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.display import FHR_SCALES, PAPER_SPEEDS_CM_MIN, TOCO_SCALE
from ctgkit.samples import GAP_S
from ctgkit.watch.strip import (
    BRAILLE,
    Window,
    grid_dots,
    line_step,
    trace_dots,
    window_ending_at,
)

SCALE = FHR_SCALES[0]


def picture(dots):
    return ["".join(chr(BRAILLE + int(d)) if d else "." for d in row) for row in dots]


def wave(start_s, end_s, rate_hz=4):
    t_s = np.arange(start_s, end_s, 1 / rate_hz)
    return t_s, 140 + 40 * np.sin(t_s / 20)


def test_snapshot_of_a_wave_with_a_gap():
    """A wave of 20 s gap: the picture is what it was when somebody looked at it."""
    t_s, fhr_bpm = wave(0, 300)
    fhr_bpm[(t_s > 120) & (t_s < 140)] = np.nan
    dots = trace_dots(t_s, fhr_bpm, window_ending_at(299, 25, 1), SCALE, 5)
    assert picture(dots) == WAVE_25X5


def test_snapshot_of_the_paper():
    """A line per centimetre, a stronger one per minute, 20 beats/min apart."""
    assert picture(grid_dots(Window(0, 16, 4.0), SCALE, 8)) == PAPER_16X8


@pytest.mark.parametrize("speed", PAPER_SPEEDS_CM_MIN)
def test_a_column_lasts_as_long_as_a_gap(speed):
    """Joined samples lie in neighbouring columns: what the drawing relies on."""
    assert window_ending_at(0, 10, speed).cell_s / 2 >= GAP_S


@given(
    t_s=st.floats(0, 1e5),
    n_cells=st.integers(1, 300),
    speed=st.sampled_from(PAPER_SPEEDS_CM_MIN),
)
def test_the_last_cell_holds_the_edge(t_s, n_cells, speed):
    """A window ends with the cell of its time and begins its cells earlier."""
    window = window_ending_at(t_s, n_cells, speed)
    assert window.end_s - window.cell_s <= t_s < window.end_s
    assert window.end_s - window.start_s == pytest.approx(n_cells * window.cell_s)


@given(
    gap_s=st.floats(GAP_S + 4, 60),
    start_s=st.floats(20, 100),
    missing=st.booleans(),
    speed=st.sampled_from(PAPER_SPEEDS_CM_MIN),
    rate_hz=st.sampled_from([1, 4, 8.33]),
)
def test_nothing_is_drawn_in_a_gap(gap_s, start_s, missing, speed, rate_hz):
    """Columns wholly inside a gap stay empty, be it null samples or missing time."""
    t_s, fhr_bpm = wave(0, 200, rate_hz)
    inside = (t_s >= start_s) & (t_s < start_s + gap_s)
    if missing:
        t_s, fhr_bpm = t_s[~inside], fhr_bpm[~inside]
    else:
        fhr_bpm[inside] = np.nan
    window = window_ending_at(199, 60, speed)
    dots = trace_dots(t_s, fhr_bpm, window, SCALE, 10)
    edges = window.start_s + np.arange(window.n_cells + 1) * window.cell_s
    empty = (edges[:-1] >= start_s) & (edges[1:] <= start_s + gap_s)
    assert not dots[:, empty].any()
    covered = (edges[1:] <= start_s) & (edges[:-1] >= 0)
    assert (dots[:, covered] != 0).any(axis=0).all()


@given(
    st.lists(st.tuples(st.floats(0, 400), st.none() | st.floats(20, 300)), max_size=60),
    st.integers(1, 40),
    st.integers(1, 20),
)
def test_any_samples_can_be_drawn(samples, n_cells, n_rows):
    """Any times and values, sparse or dense, give a picture of the size asked for."""
    samples.sort(key=lambda pair: pair[0])
    t_s = np.array([t for t, _ in samples], dtype=float)
    values = np.array([math.nan if v is None else v for _, v in samples], dtype=float)
    dots = trace_dots(t_s, values, window_ending_at(300, n_cells, 2), SCALE, n_rows, 30.0)
    assert dots.shape == (n_rows, n_cells)


def test_a_steady_line_is_one_dot_high():
    """140 beats/min for a minute: every column has exactly one dot."""
    t_s = np.arange(0, 60, 0.25)
    dots = trace_dots(t_s, np.full(240, 140.0), Window(0, 5, 12.0), SCALE, 6)
    assert [int(d).bit_count() for d in dots.max(axis=0)] == [2] * 5
    assert np.count_nonzero(dots) == 5


def test_a_jump_is_not_joined():
    """A step of more than the largest believed leaves the dots in between empty."""
    t_s = np.arange(0, 24, 0.25)
    values = np.where(t_s < 12, 190.0, 90.0)
    joined = trace_dots(t_s, values, Window(0, 2, 12.0), SCALE, 10)
    apart = trace_dots(t_s, values, Window(0, 2, 12.0), SCALE, 10, 30.0)
    assert np.count_nonzero(joined) > np.count_nonzero(apart) == 2


def test_values_off_the_scale_stick_to_its_edge():
    """240 on paper that ends at 210 is seen at the top, a toco below zero at the bottom."""
    t_s = np.array([1.0, 2.0])
    assert trace_dots(t_s, np.array([240.0, 240.0]), Window(0, 1, 12.0), SCALE, 4)[0].any()
    assert trace_dots(t_s, np.array([-5.0, -5.0]), Window(0, 1, 12.0), TOCO_SCALE, 4)[3].any()


def test_small_paper_has_coarser_lines():
    """Grid lines are at least a cell apart where that is possible."""
    assert [line_step(SCALE, n) for n in (3, 5, 10, 30)] == [80, 40, 20, 10]


WAVE_25X5 = [
    ".........................",
    "⣠⠞⠉⠙⢦......⠐⠋⠉⠳⡄.....⣠⠏⠉⠙",
    "⠁...⠈⠳⡄..⣠⠄....⠙⢦..⢀⡼⠁...",
    "......⠉⠓⠚⠁......⠈⠙⠒⠋.....",
    ".........................",
]
PAPER_16X8 = [
    "⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅",
    "⠅....⠁....⠁....⠅",
    "⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅",
    "⠅....⠁....⠁....⠅",
    "⠇⠂⠂⠂⠂⠃⠂⠂⠂⠂⠃⠂⠂⠂⠂⠇",
    "⠅....⠁....⠁....⠅",
    "⠇⠂⠂⠂⠂⠃⠂⠂⠂⠂⠃⠂⠂⠂⠂⠇",
    "⠅....⠁....⠁....⠅",
]
