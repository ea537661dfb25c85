"""The saved picture is an SVG that stands on its own."""

import xml.etree.ElementTree as ET

import pytest

from ctgkit.display import COLOURS, DISCLAIMER
from ctgkit.watch.ink import palette
from ctgkit.watch.picture import svg_picture
from ctgkit.watch.state import State, fold, set_link
from ctgkit.watch.view import render
from tests.watch.backend import result

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def picture():
    state = State(source="<http://here & there>")
    set_link(state, "live")
    for n in range(1200):
        fold(state, result(n / 4, 140 + n % 7, 20.0, sensor_id='"<&>"'), 0.0)
    styles = palette("light")
    return svg_picture(render(state, 80, 24, 0.0, styles), 80, 24, styles)


def test_is_well_formed_whatever_is_shown(picture):
    """Ids and addresses with markup in them stay text."""
    texts = [t.text for t in ET.fromstring(picture).iter(f"{SVG}text")]
    assert '"<&>"' in texts
    assert "<http://here" in texts


def test_loads_nothing(picture):
    """The only address in it is the name space."""
    outside = picture.replace("http://www.w3.org/2000/svg", "").replace("&lt;http://here", "")
    assert "http" not in outside
    assert "url(" not in outside


def test_says_what_it_is(picture):
    """Title and footer carry the disclaimer."""
    assert DISCLAIMER in ET.fromstring(picture).find(f"{SVG}title").text
    assert picture.count("medical") == 2


def test_the_trace_is_drawn_as_dots(picture):
    """No braille character is left to a font, and the trace has its colour."""
    assert not any(0x2800 <= ord(c) <= 0x28FF for c in picture)
    strokes = {p.get("stroke") for p in ET.fromstring(picture).iter(f"{SVG}path")}
    assert {COLOURS["fhr"].light, COLOURS["toco"].light, COLOURS["grid"].light} <= strokes
