"""The screen fits every terminal, says what it should, and obeys nobody from the network."""

import copy
import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from ctgkit.display import DISCLAIMER
from ctgkit.samples import Prediction
from ctgkit.watch.controls import press
from ctgkit.watch.ink import palette
from ctgkit.watch.state import THEMES, State, fold, notify, refuse, set_link
from ctgkit.watch.view import render
from tests.watch.backend import OTHER, SENSOR, result

EVENTS = [
    {"kind": "contraction", "onset_s": 100.0, "end_s": 180.0, "peak_s": 140.0, "id": "c"},
    {"kind": "deceleration", "subtype": "late", "onset_s": 150.0, "end_s": 230.0, "id": "d"},
    {"kind": "acceleration", "onset_s": 20.0, "end_s": 50.0, "id": "a", "tier": "provisional"},
]
SAID = Prediction(
    hypoxia_probability=0.55,
    hypoxia_risk="high",
    alerts=["late decelerations"],
    confidence=0.5,
    recommendations=["turn on the left side"],
)
SIZES = [(30, 9), (40, 12), (64, 17), (80, 24), (132, 43), (200, 50), (300, 80)]


def monitored(*sensor_ids):
    """Five minutes of each sensor: a wave, a gap, a contraction, events, a prediction."""
    return copy.deepcopy(_monitored(*sensor_ids))


@cache
def _monitored(*sensor_ids):
    state = State(source="http://127.0.0.1:8080")
    set_link(state, "live")
    for sensor_id in sensor_ids or (SENSOR,):
        for n in range(300 * 4):
            t_s = n / 4
            fhr_bpm = None if 250 < t_s < 270 else 140 + 15 * math.sin(t_s / 15)
            toco = 10 + 60 * math.exp(-(((t_s - 140) / 25) ** 2))
            fold(state, result(t_s, fhr_bpm, toco, sensor_id=sensor_id), 100.0)
        last = result(300.0, 142.0, 12.0, sensor_id=sensor_id, events=EVENTS)
        fold(state, replace(last, prediction=SAID, status="warning"), 100.0)
    return state


def text_of(state, width=80, height=24, now_s=100.5):
    lines = render(state, width, height, now_s)
    return ["".join(segment.text for segment in line) for line in lines]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("keys", ["", "g", "?", " ", "ppr", "gt"])
def test_fills_exactly_the_terminal(size, keys):
    """Whatever is shown, each line is as wide as the terminal and there are as many as it has."""
    state = monitored(SENSOR, OTHER, "third")
    for key in keys:
        press(state, key)
    lines = text_of(state, *size)
    assert [cell_len(line) for line in lines] == [size[0]] * size[1]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_what_must_always_be_seen(size):
    """The sensor, the verdict, and from 40x12 on that this is no medical device."""
    state = monitored()
    text = "\n".join(text_of(state, *size))
    assert "3f2a91c0" in text
    assert "▲" in text
    assert ("risk high 55%" in text) == (size[0] >= 40)
    assert (DISCLAIMER in text) == (size[0] >= 40)


def test_snapshot_40x12():
    """The smallest sensible terminal, as somebody looked at it."""
    assert [line.rstrip() for line in text_of(monitored(), 40, 12)] == SCREEN_40X12


def test_snapshot_80x24():
    """The usual terminal, as somebody looked at it."""
    assert [line.rstrip() for line in text_of(monitored(), 80, 24)] == SCREEN_80X24


@given(
    st.integers(1, 320),
    st.integers(1, 90),
    st.lists(st.sampled_from([*"gpr?t a12", "left", "home", "tab"]), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_any_size_can_be_drawn(width, height, keys):
    """No size is too odd, too small ones say so."""
    for key in keys:
        press(SHARED, key)
    lines = text_of(SHARED, width, height)
    assert [cell_len(line) for line in lines] == [width] * height


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\n\u202e\u200bid"


def test_text_from_the_network_is_harmless():
    """No control character of an id, alert, status or reason reaches the terminal."""
    state = monitored(HOSTILE)
    said = Prediction(
        hypoxia_probability=1.0,
        hypoxia_risk="low",
        alerts=[HOSTILE],
        confidence=1.0,
        recommendations=[HOSTILE],
    )
    item = result(301.0, sensor_id=HOSTILE, figo={"class": HOSTILE})
    fold(state, replace(item, prediction=said, status=HOSTILE), 100.0)
    refuse(state, HOSTILE)
    notify(state, HOSTILE, 100.0)
    for keys in ("", "g", "a"):
        for key in keys:
            press(state, key)
        shown = "".join(text_of(state, 200, 50))
        assert shown.isprintable()
    assert "owned" in shown


def test_connection_is_shown():
    """Waiting, live, and trying again with the reason."""
    state = State(source="http://127.0.0.1:8080")
    assert "connecting" in text_of(state)[0]
    assert "trying" in text_of(state)[2]
    set_link(state, "live")
    assert "no sensor has sent" in text_of(state)[2]
    set_link(state, "lost", "connection refused")
    assert "reconnecting (1): connection refused" in text_of(state)[0]


def test_a_silent_sensor_is_shown_as_silent():
    """Old values don't pass for new ones."""
    assert "silent for 30 s" in "\n".join(text_of(monitored(), now_s=130.0))


def test_alarms_stand_out_until_acknowledged():
    """Loud, then gone quiet, then gone."""
    state = State(source="x")
    for n in range(200):
        fold(state, result(n / 4, 100.0), 0.0)
    assert "⚠ FHR below 110 since 0:00:00" in text_of(state)[4]
    press(state, "a")
    assert "acknowledged: FHR below 110" in text_of(state)[4]
    fold(state, result(51.0, 140.0), 0.0)
    assert "no alarms" in text_of(state)[4]


def test_grid_shows_pages():
    """Where not all sensors fit, the page with the focus is shown."""
    state = monitored(*(f"sensor{n:02d}" for n in range(9)))
    press(state, "g")
    text = "\n".join(text_of(state, 80, 24))
    assert "sensor00" in text
    assert "sensor08" not in text.split("\n", 1)[1]
    press(state, "up")
    assert "▶9 sensor08" in "\n".join(text_of(state, 80, 24))


def test_every_theme_paints_its_paper():
    """Light and dark have a background everywhere, auto nowhere."""
    state = monitored()
    for theme in THEMES:
        painted = {
            segment.style.bgcolor is not None and not segment.style.bgcolor.is_default
            for line in render(state, 80, 24, 100.0, palette(theme))
            for segment in line
        }
        assert painted == {theme != "auto"}


SHARED = monitored(SENSOR, OTHER)
SCREEN_40X12 = """ ● live           1/1 3f2a91c0  0:05:00
 FHR 142 toco  12  ▲ risk high 55%
 ▲ late decelerations
200 ⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇
160 ⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⢀⣀⣀⡀⠤⠤⠤⠤⣀⣀⣀⡀⠤⠤⠤⠤⣀⣀⣀⡀⠤⠤⠤⠤⣀⡀
120 ⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⠉⡀⡀⠉⠳⠤⠴⠚⠁⡀⡅⠙⠲⠤⠴⠚⠁⡀⡀⠙⠲⡀⠰⠋⠁⠁
110 ⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉
    ⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅
100 ⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⣀⡤⣄⡀⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅
  0 ⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⠤⠤⠤⠤⠤⠤⠤⠤⠴⠚⠁⡀⡀⠙⠦⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠄
              0:00      0:02      0:04
 ? help Test tool, not a medical device""".splitlines()
SCREEN_80X24 = """ ● live  http://127.0.0.1:8080  1 cm/min                  1/1 3f2a91c0  0:05:00
 FHR ▄█  █ █ ▀▀█   TOCO     ▄█  ▀▀█   ▲ warning  risk high 55%  confidence 50%
 bpm  █  ▀▀█ █▀▀             █  █▀▀   signal 67%  4 Hz  1 UC/10 min
     ▀▀▀   ▀ ▀▀▀            ▀▀▀ ▀▀▀   turn on the left side
 ▲ late decelerations
200 ⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅
180 ⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅
    ⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅
160 ⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⢠⠴⢦⡀⠉⠉⠉⠉⣠⠴⢦⡀⠉⠉⠉⠉⣠⠶⢤⡀⠉⠉⠉⠉⣠⡀
140 ⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠋⠂⠂⠙⣆⠇⢀⡴⠃⠂⠇⠹⣄⠂⢀⡼⠁⠂⠂⠳⣄⠂⢀⡞⠁⠃
120 ⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠈⠓⠋⠄⠄⠄⠅⠄⠈⠓⠋⠅⠄⠄⠄⠄⠈⠄⠈⠄⠄⠅
110 ⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉
    ⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅
 80 ⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅
 60 ⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇⠂⠂⠂⠂⠇
A/D                                                    ├▲┄┤       ├──▼L──┤
UC                                                            ├──●───┤
100 ⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅⠁⠁⠁⠁⠅
    ⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⢀⡤⣄⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅
 50 ⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⢀⡞⠄⠘⡆⠄⠅⠄⠄⠄⠄⠅⠄⠄⠄⠄⠅
    ⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅⠀⠀⢀⡞⠅⠀⠀⠹⣄⠅⠀⠀⠀⠀⠅⠀⠀⠀⠀⠅
  0 ⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⡅⡀⡀⡀⡀⠒⠒⠒⠒⠒⠒⠒⠒⠋⡀⡅⡀⡀⡀⠈⠓⠒⠒⠒⠒⠒⠒⠒⠒⠒⠂
                                                      0:00      0:02      0:04
 ? help  q quit  space pause  ← → scroll        Test tool, not a medical device""".splitlines()


def test_the_end_of_a_recording_is_no_silence():
    """The header says that it is over; nobody is called silent for that."""
    state = monitored(SENSOR)
    state.playing = 8.0
    set_link(state, "live")
    assert "8x" in text_of(state, 100)[0]
    set_link(state, "ended")
    shown = text_of(state, 100, now_s=1e6)
    assert "end of the recording" in shown[0]
    assert "8x" not in shown[0]
    assert not any("silent" in line for line in shown)


def test_reading_a_file_is_told():
    """Its name and size, where a backend would be waited for."""
    state = State(source="labour.csv")
    set_link(state, "loading", "12.3 MB")
    shown = "\n".join(text_of(state))
    assert "Reading labour.csv (12.3 MB)" in shown
    assert "backend" not in shown
