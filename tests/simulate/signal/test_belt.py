"""The toco: what a belt shows, whatever the blocks are that it is rendered in."""

import numpy as np
import pytest

from ctgkit.simulate import block, sensor
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.scenario import parse_scenario
from ctgkit.simulate.sensor import Sensor

HOUR = 4 * 3600


def toco(scenario, index=0):
    chunk, truth = Sensor(scenario, seed=3, index=index).render(0, HOUR)
    return chunk.uterus, chunk.spasms, truth.toco_clean


@pytest.mark.parametrize("name", ["intrapartum-ultrasound", "intrapartum-electrode", "labour"])
def test_there_is_no_seam_between_blocks(name, monkeypatch):
    scenario = load_scenario(name)
    usual = toco(scenario)
    for module in (block, sensor):
        monkeypatch.setattr(module, "BLOCK", 1536)
    for one, other in zip(usual, toco(scenario), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("update_s", [0.5, 0.75, 1.75])
def test_a_shown_value_is_held_across_the_border_of_blocks(update_s):
    text = f"[toco]\nupdate_s = {update_s}\nnoise_tail = 5\ntone = 50\ngrid = 0.1"
    scenario = parse_scenario("held", lambda _: f"[meta]\ntitle = 'Held'\n{text}")
    every = round(4 * update_s)
    phases = set()
    for index in range(6):
        shown = toco(scenario, index)[0]
        changes = np.flatnonzero(np.diff(shown)) + 1
        assert len(changes) > HOUR / every * 0.9
        assert len({int(c) % every for c in changes}) == 1
        phases.add(int(changes[0]) % every)
    assert len(phases) > 1, "monitors don't all update at the same moment"


def test_a_reset_holds_until_the_next():
    def shown(knobs):
        calm = "drift = 0\nbreathing = 0\nnoise = 0\nspikes_per_h = 0"
        text = f"[meta]\ntitle = 'Reset'\n[toco]\n{calm}\n{knobs}"
        sensor = Sensor(parse_scenario("reset", lambda _: text), seed=3)
        return sensor.render(4 * 61, 5 * HOUR).chunk.uterus

    reset = "[[at]]\nt = 60\nforce = { event = 'rezero', size = 30 }"
    difference = shown(reset) - shown("")
    assert difference.min() >= 19.5  # a tone of 10, on a grid of 0.5
    assert difference.max() <= 20.5


def test_a_belt_that_is_not_on_the_skin_shows_a_line():
    text = "[meta]\ntitle = 'Off'\n[toco]\ngain = 0\nspikes_per_h = 60"
    levels = set()
    for index in range(8):
        shown = toco(parse_scenario("off", lambda _: text), index)[0]
        assert len(set(shown)) == 1
        levels.add(shown[0])
    assert min(levels) == 0 < max(levels) <= 20


def test_a_belt_that_is_put_on_again_is_at_another_level():
    calm = "drift = 0\nbreathing = 0\nnoise = 0\nnoise_tail = 0\nspikes_per_h = 0\nper_10min = 0"
    text = f"[meta]\ntitle = 'Off'\n[toco]\n{calm}\ntone = 60\nlifted_per_h = 3"
    scenario = parse_scenario("off", lambda _: text)
    levels = []
    for index in range(8):
        shown = toco(scenario, index)[0]
        off = shown <= 20
        ends = np.flatnonzero(off[:-1] & ~off[1:]) + 1
        levels += list(shown[ends[ends < HOUR - 160] + 120] - 60)
    assert len(levels) > 5
    assert np.median(np.abs(levels)) > 5
    assert min(levels) < 0 < max(levels)


def test_a_mother_pushes_in_most_contractions_but_not_in_all():
    def clean(index, push):
        calm = f"amplitude = 30\nduration_s = 60\nper_10min = 3\npush = {push}"
        text = f"[meta]\ntitle = 'Push'\n[toco]\n{calm}"
        sensor = Sensor(parse_scenario("push", lambda _: text), 3, index, duration_s=3600)
        clean = sensor.render(0, HOUR).truth.toco_clean
        sensor.seek(HOUR)
        return clean, [e.peak_s for e in sensor.events() if e.kind == "contraction"]

    shares = []
    for index in range(8):
        (pushed, peaks_s), (calm, _) = clean(index, 1), clean(index, 0)
        at = [slice(max(int(4 * p) - 240, 0), int(4 * p) + 240) for p in peaks_s if 60 < p < 3540]
        shares.append(np.mean([(pushed - calm)[near].max() > 10 for near in at]))
    assert 0.4 < np.mean(shares) < 1
    assert min(shares) < max(shares)
