"""What stands where: sheets cover the recording, to scale."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.display import FHR_SCALES, PAPER_SPEEDS_CM_MIN
from ctgkit.paper.sheet import A4_CM, BOTTOM_CM, RIGHT_CM, ROWS_CM_MIN, ROWS_MARGIN_CM, cut

speeds = st.sampled_from(PAPER_SPEEDS_CM_MIN)
scales = st.sampled_from(FHR_SCALES)


@given(st.floats(0, 1e5), st.floats(0, 2e4), speeds, scales, st.booleans())
def test_sheets_cover_every_moment_once(first_s, lasts_s, speed, scale, paged):
    """The first sample is on the first sheet, the last on the last, and nothing lies between."""
    sheets = cut(first_s, first_s + lasts_s, speed, scale, paged=paged)
    assert sheets[0].start_s <= first_s < sheets[0].start_s + 60
    assert sheets[-1].end_s >= first_s + lasts_s > sheets[-1].start_s - 1e-6
    for one, next_one in pairwise(sheets):
        assert one.end_s == next_one.start_s


@given(st.floats(0, 2e4), speeds, scales, st.booleans())
def test_a_minute_and_a_beat_have_their_length(lasts_s, speed, scale, paged):
    """x runs at the paper's speed, y at its units per centimetre; nothing leaves the sheet."""
    sheet, *others = cut(0, lasts_s, speed, scale, paged=paged)
    assert sheet.x_cm(60) - sheet.x_cm(0) == pytest.approx(speed)
    assert sheet.fhr.y_cm(160) - sheet.fhr.y_cm(110) == pytest.approx(50 / scale.per_cm)
    assert sheet.toco.y_cm(100) - sheet.toco.y_cm(0) == pytest.approx(4)
    assert sheet.right_cm <= sheet.width_cm - RIGHT_CM + 1e-9
    lowest = min(one.toco.bottom_cm for one in (sheet, *others))
    assert lowest >= (ROWS_MARGIN_CM if paged and speed == ROWS_CM_MIN else BOTTOM_CM) - 1e-9
    assert sheet.fhr.top_cm < sheet.height_cm
    if paged:
        upright = speed == ROWS_CM_MIN
        assert (sheet.width_cm, sheet.height_cm) == (A4_CM[::-1] if upright else A4_CM)


@given(st.floats(0, 2e4), speeds, scales)
def test_rows_of_a_page_lie_below_one_another(lasts_s, speed, scale):
    """A page upright holds two, and no page is left out or begun with nothing on it."""
    sheets = cut(0, lasts_s, speed, scale, paged=True)
    pages = [sheet.page for sheet in sheets]
    assert pages == sorted(pages)
    assert set(pages) == set(range(pages[-1] + 1))
    rows = 2 if speed == ROWS_CM_MIN else 1
    assert all(pages.count(page) == rows for page in set(pages[:-1]) - {pages[-1]})
    for one, next_one in pairwise(sheets):
        if one.page == next_one.page:
            assert next_one.fhr.top_cm < one.toco.bottom_cm
