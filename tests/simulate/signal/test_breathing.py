"""The mother's breathing on the belt: regular, and the same whatever was before."""

import numpy as np
import pytest

from ctgkit.simulate.scenario import parse_scenario
from ctgkit.simulate.sensor import Sensor
from ctgkit.simulate.signal.breathing import breathing
from ctgkit.simulate.signal.contraction import Contraction
from ctgkit.simulate.signal.stream import Streams

T_S = np.arange(2400) / 4
CALM = (
    "drift = 0\nnoise = 0\nnoise_tail = 0\nspikes_per_h = 0\nsmoothing_s = 0\ntone = 50\ngrid = 0.1"
)


def mother(knobs, index=0):
    scenario = parse_scenario("mine", lambda _: f"[meta]\ntitle = 'Mine'\n[toco]\n{CALM}\n{knobs}")
    return Sensor(scenario, seed=3, index=index)


def breaths(sensor, index, contractions=()):
    return breathing(sensor.patient, Streams(3, index), T_S, list(contractions), np.zeros_like(T_S))


def regularity(toco, seconds=28):
    """Return the highest correlation of each window with itself 1.5 to 8 s later."""
    rows = toco[: len(toco) // (4 * seconds) * 4 * seconds].reshape(-1, 4 * seconds)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.array(
        [max(np.corrcoef(row[:-lag], row[lag:])[0, 1] for lag in range(6, 33)) for row in rows]
    )


@pytest.mark.parametrize("per_min", [10, 15, 20, 28])
def test_a_mother_breathes_as_often_as_asked_and_regularly(per_min):
    knobs = f"per_10min = 0\nbreathing = 3\nbreathing_width = 0.05\nbreathing_per_min = {per_min}"
    for index in range(3):
        toco = mother(knobs, index).render(0, 4 * 600).chunk.uterus
        above = toco - np.convolve(np.pad(toco, 40, mode="edge"), np.ones(81) / 81, "valid") > 0
        count = np.count_nonzero(above[1:] & ~above[:-1])
        assert count == pytest.approx(10 * per_min, rel=0.15)
        assert np.median(regularity(toco)) > 0.7


def test_what_follows_a_contraction_is_as_if_there_had_been_none():
    changed = 0
    for index in range(8):
        sensor = mother("breathing = 3", index)
        contraction = Contraction("c0", 0, 300.0, 30.0, 40.0, 50.0, 2.0)
        without, within = breaths(sensor, index), breaths(sensor, index, [contraction])
        outside = (T_S < 270) | (T_S > 340)
        np.testing.assert_allclose(within[outside], without[outside])
        changed += not np.allclose(within, without)
    assert changed, "some breathe slower or faster in a contraction"


def test_who_pushes_holds_her_breath():
    def shown(breathing_size, push):
        knobs = (
            f"tone = 20\nper_10min = 4\namplitude = 20\npush = {push}\nbreathing = {breathing_size}"
        )
        chunk, truth = mother(knobs.replace("tone = 20\n", "")).render(0, 4 * 1200)
        return chunk.uterus, truth.toco_clean

    (still, clean), (breathed, _) = shown(0, 1), shown(2, 1)
    pushes = clean - shown(0, 0)[1] > 20
    assert pushes.sum() > 100
    ripple = np.abs(breathed - still)
    assert ripple[pushes].mean() < 0.3 * ripple[~pushes].mean()
