"""What pictures share is consistent and can be read."""

import numpy as np
import pytest

from ctgkit.display import (
    ALARMS,
    COLOURS,
    DECORATIVE_COLOURS,
    FHR_SCALES,
    GRAPHIC_COLOURS,
    NORMAL_BAND_BPM,
    TOCO_SCALE,
    joined,
)
from ctgkit.samples import GAP_S


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", ["light", "dark"])
@pytest.mark.parametrize("name", sorted(set(COLOURS) - set(DECORATIVE_COLOURS)))
def test_colours_can_be_read_on_paper_and_band(name, palette):
    """WCAG AA: 4.5:1 for text, 3:1 for lines, on both backgrounds."""
    needed = 3.0 if name in GRAPHIC_COLOURS else 4.5
    for background in ("paper", "band"):
        colour, paper = (getattr(COLOURS[n], palette) for n in (name, background))
        assert contrast(colour, paper) >= needed, background


def test_scales_hold_the_band_and_their_lines():
    """The normal band and at least one grid line lie on every scale."""
    for scale in FHR_SCALES:
        assert scale.lo < NORMAL_BAND_BPM[0] < NORMAL_BAND_BPM[1] < scale.hi
    for scale in (*FHR_SCALES, TOCO_SCALE):
        assert list(scale.lines) == sorted(scale.lines)
        assert scale.lines[0] <= scale.hi - scale.lo


def test_alarm_texts_name_the_limits():
    """An alarm says the limit that was crossed."""
    assert "110" in ALARMS["fhr_low"].text
    assert "160" in ALARMS["fhr_high"].text


def test_lines_break_just_beyond_a_gap():
    """Two samples GAP_S apart are joined, a little further apart they aren't."""
    values = np.array([140.0, 140.0])
    assert joined(np.array([0.0, GAP_S]), values, 30.0).tolist() == [True]
    assert joined(np.array([0.0, GAP_S + 0.01]), values, 30.0).tolist() == [False]
