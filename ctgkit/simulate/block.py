"""A block of samples and their truth, as a plan says what happens. This module performs no I/O."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.simulate.plan import Plan, Window
from ctgkit.simulate.signal.belt import level, toco
from ctgkit.simulate.signal.device import (
    MARGIN,
    WARM_UP,
    begin_anew,
    hold,
    monitor,
    mother_bpm,
    steadied,
    wild_bpm,
)
from ctgkit.simulate.signal.dropout import FADED_S, Episode, fading_bpm
from ctgkit.simulate.signal.field import Composite, heart_rate
from ctgkit.simulate.signal.noise import ENGINE_HZ
from ctgkit.simulate.signal.stream import Floats
from ctgkit.simulate.source import Chunk

BLOCK: Final = 2400
"""Engine samples that are rendered at once: 10 min, as recordings mostly last whole minutes."""

CAPTURE_LEAD_S: Final = 2.5
"""In a gap before it is shown, the mother's heart is followed this long at most, so that no shown
interval mixes two hearts."""

HEARD_BPM: Final = (20.0, 236.0)
"""What a monitor that is off beside a gap may still take for a heart: its beats must be fewer than
:data:`ctgkit.simulate.signal.device.BORDER_BEATS` in a margin, and two or more in the warm-up."""

MASK_BITS: Final = {
    "loss": 1, "off": 2, "maternal_capture": 4, "doubling": 8, "halving": 16, "outlier": 32,
    "hold": 64, "twin": 128,
}  # fmt: skip
"""What each bit of the mask means."""


class Truth(NamedTuple):
    """What is true at each sample; arrays of shape (n_samples,)."""

    baseline_bpm: Floats
    fhr_clean_bpm: Floats
    """Baseline, accelerations, decelerations and sinusoidal pattern, without noise."""
    toco_clean: Floats
    """Tone, contractions and pushing, without the belt's artefacts; device units."""
    mask: NDArray[np.uint8]
    """Sum of :data:`MASK_BITS`; 0 where the sensor shows the fetus."""
    mother_bpm: Floats
    """The mother's heart rate."""


class Rendered(NamedTuple):
    """Samples and their truth."""

    chunk: Chunk
    truth: Truth


def rendered(block: int, plan: Plan, twin: Plan | None = None) -> Rendered:
    """Return a block, given what happens to the fetus, and to its twin if there is one."""
    patient, streams = plan.patient, plan.streams
    first = block * BLOCK - MARGIN
    t_s = np.arange(first, first + MARGIN + BLOCK) / ENGINE_HZ
    window, heart, mother, seen = _look(plan, t_s, twin)
    planned = _look(plan.undisturbed, t_s, twin)[3] if plan.undisturbed else None
    mask = _mask(window.episodes, t_s)
    measured = monitor(patient, streams, block, first, seen, planned)
    shown = _shown(plan, block, t_s, measured, mask)
    belt = toco(patient, streams, first, len(t_s), window.contractions, window.rezeros)
    mask, t_s = mask[MARGIN:], t_s[MARGIN:]
    off = (mask & MASK_BITS["off"]).astype(bool)
    uterus, spasms = _wire(plan, block, belt.shown, belt.contractile[MARGIN:])
    uterus, spasms = np.where(off, np.nan, uterus), np.where(off, np.nan, spasms)
    return Rendered(
        Chunk(t_s, shown, uterus, spasms),
        Truth(
            heart.baseline[MARGIN:],
            heart.clean[MARGIN:],
            belt.clean[MARGIN:],
            mask,
            mother[MARGIN:],
        ),
    )


def _look(plan: Plan, t_s: Floats, twin: Plan | None) -> tuple[Window, Composite, Floats, Floats]:
    """Return what happens, the noise-free heart, the mother's heart, and the one heard."""
    window = plan.window(float(t_s[0]) - FADED_S, float(t_s[-1]) + FADED_S)
    strength = level(window.contractions, t_s)
    heart = plan.composite(t_s, window)
    mother = mother_bpm(plan.patient, plan.streams, t_s, strength)
    heard = _full(plan, t_s, heart, strength)
    heard = heard + fading_bpm(plan.patient, plan.streams, window.episodes, t_s)
    heard = np.clip(heard, *HEARD_BPM)
    return window, heart, mother, _heard(window, t_s, heard, mother, twin)


def _full(plan: Plan, t_s: Floats, heart: Composite, strength: Floats) -> Floats:
    first = round(float(t_s[0]) * ENGINE_HZ)
    return heart_rate(
        plan.patient, plan.streams, plan.behaviour, plan.fetus, first, heart, strength
    )


def _heard(window: Window, t_s: Floats, fetus: Floats, mother: Floats, twin: Plan | None) -> Floats:
    """Return the heart that the sensor hears, bpm: the fetus's, the mother's, the twin's."""
    heard = fetus
    lost_s = {e.end_s: e.end_s - e.onset_s for e in window.episodes if e.what == "loss"}
    for e in window.episodes:
        if e.what not in ("maternal_capture", "twin"):
            continue
        lead_s = min(lost_s.get(e.onset_s, 0.0), CAPTURE_LEAD_S)  # what is forced is sudden
        inside = (t_s >= e.onset_s - lead_s) & (t_s < e.end_s)
        if e.what == "maternal_capture":
            heard = np.where(inside, mother, heard)
        elif twin is not None:
            heard = np.where(inside, _twin_bpm(twin, t_s), heard)
    return heard


def _twin_bpm(twin: Plan, t_s: Floats) -> Floats:
    """Return the other twin's heart rate, bpm."""
    window = twin.window(float(t_s[0]), float(t_s[-1]) + 1 / ENGINE_HZ)
    return _full(twin, t_s, twin.composite(t_s, window), level(window.contractions, t_s))


def _shown(
    plan: Plan, block: int, t_s: Floats, measured: Floats, mask: NDArray[np.uint8]
) -> Floats:
    """Return what the monitor shows, given what it measured; after the first MARGIN samples."""
    mask, t_s = mask[WARM_UP:], t_s[WARM_UP:]
    lost = (mask & (MASK_BITS["loss"] | MASK_BITS["off"])).astype(bool)
    measured = begin_anew(measured, lost)
    shown = np.where(mask & MASK_BITS["doubling"], measured * 2, measured)
    shown = np.where(mask & MASK_BITS["halving"], shown / 2, shown)
    if (mask & MASK_BITS["outlier"]).any():
        wild = wild_bpm(plan.patient, plan.streams, block, t_s)
        shown = np.where(mask & MASK_BITS["outlier"], wild, shown)
    shown = steadied(shown, mask, lost)
    grid = plan.patient.at("sensor.grid_bpm", 0.0)
    shown = np.clip(np.round(shown / grid) * grid, 50, 240)
    held = (mask & MASK_BITS["hold"]).astype(bool)
    if held.any():
        shown = hold(plan.streams, block, shown, held, grid)
    shown = np.where(lost, np.nan, shown)
    return shown[MARGIN - WARM_UP :]


def _wire(plan: Plan, block: int, shown: Floats, contractile: Floats) -> tuple[Floats, Floats]:
    """Return uterus and spasms in the units of the profile (notes/signal_model.md 3).

    *shown* has MARGIN samples before the block, in which a shown value may begin.
    """
    if plan.patient.words["sensor.profile"] == "original":
        tenths = np.round(10 * np.clip(14.8 + 0.4 * shown[MARGIN:], 0, 60))
        hiss = plan.streams.generator("sensor.spasms", block).standard_normal(BLOCK)
        spasms = 20 + 1.5 * np.maximum(0, tenths / 10 - 28) + 0.5 * hiss
        return tenths / 10, np.round(10 * spasms) / 10
    grid = plan.patient.at("toco.grid", 0.0)
    every = max(1, round(plan.patient.at("toco.update_s", 0.0) * ENGINE_HZ))
    phase = int(every * plan.streams.generator("toco.update", 0).random())
    age = (block * BLOCK - phase + np.arange(BLOCK)) % every
    shown = shown[MARGIN + np.arange(BLOCK) - age]
    return np.round(shown / grid) * grid, np.round(contractile * 2) / 2


def _mask(episodes: list[Episode], t_s: Floats) -> NDArray[np.uint8]:
    mask = np.zeros(len(t_s), np.uint8)
    lows = t_s.searchsorted([e.onset_s for e in episodes]).tolist()
    highs = t_s.searchsorted([e.end_s for e in episodes]).tolist()
    for episode, low, high in zip(episodes, lows, highs, strict=True):
        mask[low:high] |= MASK_BITS[episode.what]
    return mask
