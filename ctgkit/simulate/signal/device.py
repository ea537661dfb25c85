"""What the monitor makes of the heart rate: beats, and the 4 Hz hold."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.field import floor_factor
from ctgkit.simulate.signal.noise import ENGINE_HZ, slow_samples
from ctgkit.simulate.signal.stream import Floats, Streams

WARM_UP = 32
"""Engine samples at the start that the monitor cannot show: 8 s, 6 beats at 50 bpm."""

MARGIN = WARM_UP + 32
"""Engine samples before a stretch: the warm-up, and 8 s in which a held value may begin."""


BORDER_BEATS = 64
"""Beats before a border between blocks whose random numbers both blocks use: more than a margin
holds at 230 bpm."""

_EDGE = 2 * MARGIN
"""Engine samples at both ends of a block in which its beats follow the heart exactly."""


NEXT_BEAT = 9
"""Engine samples within which a monitor that has found a heart has a beat of it: 2 s."""


class Beats(NamedTuple):
    """The beats of a block, and those before it that can still be shown in it."""

    at_s: Floats
    """Seconds from the first sample; shape (before + count + 1,)."""
    before: int
    """How many intervals end before the block or at its border."""
    planned: int
    """How many end in it unless an instructor disturbs it."""


def beats(streams: Streams, block: int, heart_bpm: Floats, planned_bpm: Floats) -> Beats:
    """Return when the heart beats: whenever the integral of its rate passes a whole number.

    At each border between blocks the integral has a fractional part that is drawn for that
    border, so that neighbouring blocks agree on the beats around it. What is missing to the next
    border's, at most half a beat, is made up for within the block: less than 0.1 bpm. How much
    that is must not depend on what an instructor does later in the block, so it comes from the
    planned heart; after what he does the next border shows.

    Parameters
    ----------
    streams, block
        Whose heart it is, and the number of the block.
    heart_bpm, planned_bpm : ndarray of shape (MARGIN + n_samples,)
        Heart rate, bpm; and what it would be if nothing were injected.
    """
    here, there = (float(streams.generator("sensor.phase", n).random()) for n in (block, block + 1))
    passed = _integral(planned_bpm)
    planned = round(here + passed[-1] - there)
    missing = planned + there - here - passed[-1]
    if heart_bpm is not planned_bpm:
        passed = _integral(heart_bpm)
    steps = len(heart_bpm) - MARGIN - 2 * _EDGE
    share = (np.arange(len(passed)) - MARGIN - _EDGE) / steps
    phase = passed + here + missing * np.clip(share, 0, 1)
    numbers = np.arange(int(np.ceil(phase[0])), int(np.floor(phase[-1])) + 1)
    at_s = np.interp(numbers, phase, np.arange(len(phase)) / ENGINE_HZ)
    return Beats(at_s, -int(numbers[0]), planned)


def _integral(heart_bpm: Floats) -> Floats:
    """Return beats since the block's start, with fractions, before each sample and at the end."""
    between = (heart_bpm + np.concatenate([heart_bpm[:1], heart_bpm[:-1]])) / 2
    passed = np.concatenate([[0.0], np.cumsum(between)]) / (60 * ENGINE_HZ)
    since: Floats = passed - passed[MARGIN]
    return since


def _drawn(streams: Streams, name: str, block: int, shown: Beats, width: int) -> Floats:
    """Return uniform numbers for each interval; around borders both blocks draw the same."""

    def near(border: int) -> Floats:
        return streams.generator(name + ".border", border).random((BORDER_BEATS, width))[::-1]

    rows = [
        near(block)[BORDER_BEATS - shown.before :],
        streams.generator(name, block).random((shown.planned - BORDER_BEATS, width)),
        near(block + 1),
    ]
    intervals = len(shown.at_s) - 1
    more = intervals - shown.before - shown.planned
    if more > 0:
        rows.append(streams.generator(name + ".more", block).random((more, width)))
    return np.concatenate(rows)[:intervals]


def monitor(
    patient: Patient,
    streams: Streams,
    block: int,
    first: int,
    heart_bpm: Floats,
    planned_bpm: Floats | None = None,
) -> Floats:
    """Return what the monitor shows of *heart_bpm*, after its first WARM_UP samples.

    Parameters
    ----------
    patient, streams
        Whose monitor it is.
    block : int
        Its number.
    first : int
        Engine sample index of ``heart_bpm[0]``.
    heart_bpm, planned_bpm : ndarray of shape (MARGIN + n_samples,)
        Heart rate, bpm; and what it would be if nothing were injected, None for the same.

    Returns
    -------
    ndarray of shape (MARGIN - WARM_UP + n_samples,)
        bpm; each beat's value is held until the next beat.
    """
    t_s = np.arange(len(heart_bpm)) / ENGINE_HZ
    heart = beats(streams, block, heart_bpm, heart_bpm if planned_bpm is None else planned_bpm)
    rate = 60 / np.diff(heart.at_s)
    known_s = heart.at_s[1:]
    then_s = known_s + first / ENGINE_HZ
    method = patient.words["sensor.method"]
    error = patient.at("fhr.floor_bpm", then_s) * floor_factor(patient, then_s)
    beat_error = patient.at("sensor.beat_error", 0.0)
    error = error * (fitted.BEAT_ERROR[method] * beat_error)
    # and where the rate changes, the intervals that are compared differ
    change = np.abs(heart_bpm[3:] - heart_bpm[:-3]) * (ENGINE_HZ / 3)
    blur = patient.at("sensor.blur_s", 0.0) * np.interp(known_s, t_s[3:], change)
    u = _drawn(streams, "sensor.beat", block, heart, 7)
    # Laplacian, as successive values differ [M]: a normal whose variance is exponential
    size = -np.log1p(-u[:, 0]) * np.where(u[:, 1] < 0.5, -1, 1)
    size[u[:, 2] < fitted.BEAT_SLIP] *= fitted.SLIP_FACTOR
    rate += np.hypot(error, blur) * size / np.sqrt(2)
    strays = np.flatnonzero(u[:, 2] > 1 - fitted.BEAT_STRAY * beat_error)
    if len(strays):
        least_bpm, more_bpm, up = fitted.STRAY
        far_bpm = least_bpm - more_bpm * np.log1p(-u[strays, 0])
        rate[strays] += np.minimum(far_bpm, 30) * np.where(u[strays, 1] < up, 1, -1)
    if method == "doppler":  # autocorrelation reports late and unevenly
        known_s = np.maximum.accumulate(known_s + fitted.DOPPLER_DELAY_S * u[:, 3])
    step_s = patient.at("sensor.interval_ms", 0.0) / 1000
    rate = 60 / (step_s * np.round(60 / rate / step_s))
    if method == "doppler":  # ultrasound monitors cut off, electrodes round [M]
        step_bpm = patient.at("sensor.grid_bpm", 0.0)
        rate = step_bpm * np.floor(rate / step_bpm)
    missed = _missed(patient, then_s, u[:, 4:])
    rate = rate[np.maximum.accumulate(np.where(missed, 0, np.arange(len(rate))))]
    held: Floats = rate[np.searchsorted(known_s, t_s[WARM_UP:], side="right") - 1]
    return held


def _missed(patient: Patient, then_s: Floats, u: Floats) -> NDArray[np.bool_]:
    """Return which beats don't update the shown value: single ones, and spells of doubt."""
    missed = u[:, 0] < patient.at("sensor.missed_update", then_s)
    per_beat = patient.at("sensor.doubt_per_h", then_s) / 3600 * 0.43
    lengths = (3 - fitted.DOUBT_BEATS * np.log1p(-u[:, 2])).astype(np.intp)
    for i in np.flatnonzero(u[:, 1] < per_beat):
        missed[i : i + lengths[i]] = True
    missed[0] = False
    return missed


def _sampled(streams: Streams, name: str, block: int, count: int, width: int) -> Floats:
    """Return normals for *count* samples, half a margin and a block; around borders both blocks
    draw the same."""  # noqa: D205, D209
    before = MARGIN - WARM_UP

    def near(border: int) -> Floats:
        return streams.generator(name + ".border", border).standard_normal((before, width))

    inner = streams.generator(name, block).standard_normal((count - 2 * before, width))
    return np.concatenate([near(block), inner, near(block + 1)])


def hold(
    streams: Streams, block: int, shown_bpm: Floats, held: NDArray[np.bool_], step_bpm: float
) -> Floats:
    """Return *shown_bpm* with the last value before each held stretch repeated through it.

    Parameters
    ----------
    streams, block
        Whose monitor it is, and the number of the block.
    shown_bpm, held : ndarray of shape (MARGIN - WARM_UP + n_samples,)
        What would be shown, and where the monitor repeats itself.
    step_bpm : float
        Its last digit flickers by this much.
    """
    index = np.arange(len(shown_bpm))
    last = np.maximum.accumulate(np.where(held, 0, index))
    z = _sampled(streams, "sensor.flicker", block, len(shown_bpm), 2)
    changes = np.cumsum(np.abs(z[:, 0]) < fitted.HOLD_FLICKER_Z)
    flicker = (changes - changes[last]) % 2 * np.where(z[last, 1] < 0, -1, 1)
    return np.where(held, shown_bpm[last] + step_bpm * flicker, shown_bpm)


def steadied(shown_bpm: Floats, mask: NDArray[np.uint8], lost: NDArray[np.bool_]) -> Floats:
    """Return *shown_bpm* without the jumps that no monitor shows of one heart without a gap.

    Parameters
    ----------
    shown_bpm, mask, lost : ndarray of shape (n_samples,)
        What would be shown, what it is of, and where nothing is shown.
    """
    rise_bpm, fall = fitted.LARGEST_JUMP
    steady = shown_bpm.copy()
    alike = (mask[1:] == mask[:-1]) & ~lost[1:]
    far = (np.diff(shown_bpm) > rise_bpm) | (shown_bpm[1:] < fall * shown_bpm[:-1])
    for i in np.flatnonzero(alike & far).tolist():
        j = i
        while j < len(alike) and alike[j]:
            least, most = fall * steady[j], steady[j] + rise_bpm
            if least <= shown_bpm[j + 1] <= most:
                break
            steady[j + 1] = min(max(shown_bpm[j + 1], least), most)
            j += 1
    return steady


def begin_anew(shown_bpm: Floats, lost: NDArray[np.bool_]) -> Floats:
    """Return *shown_bpm* with a new value from the moment at which a gap ends.

    A monitor that has lost the signal has no old value to go on with until the next beat.

    Parameters
    ----------
    shown_bpm, lost : ndarray of shape (n_samples,)
        What would be shown, and where nothing is.
    """
    begun = shown_bpm.copy()
    for end in (np.flatnonzero(lost[:-1] & ~lost[1:]) + 1).tolist():
        waits = int(np.argmax(shown_bpm[end : end + NEXT_BEAT] != shown_bpm[end]))
        begun[end : end + waits] = shown_bpm[end + waits]
    return begun


def wild_bpm(patient: Patient, streams: Streams, block: int, t_s: Floats) -> Floats:
    """Return what the monitor makes of noise, bpm: it strays, and is updated now and then."""
    z = _sampled(streams, "artefact.outlier.value", block, len(t_s), 2)
    level_bpm, strays_bpm = fitted.NOISE_BPM
    wild = (
        level_bpm
        + strays_bpm * slow_samples(streams, "artefact.outlier.value", t_s, 20.0, 20.0)
        + fitted.NOISE_TURNS_BPM * slow_samples(streams, "artefact.outlier.turn", t_s, 2.0, 3.0)
        + fitted.WILD_BPM[patient.words["sensor.method"]] * z[:, 0]
    )
    index = np.arange(len(t_s))
    # every eighth, so that both blocks at a border hold the same
    updated = (z[:, 1] > fitted.NOISE_STAYS_Z) | (index % 8 == 0)
    shown: Floats = wild[np.maximum.accumulate(np.where(updated, index, 0))]
    return shown


def mother_bpm(
    patient: Patient, streams: Streams, t_s: Floats, contraction_level: Floats
) -> Floats:
    """Return the mother's heart rate, bpm; it rises with contractions, like an acceleration.

    It is as uneven as an adult's: with each breath, and in waves of about 10 s.
    """
    breath_bpm, wave_bpm, drift_bpm = fitted.MOTHER_BPM
    effort = float(streams.uniform("mother.effort", 0, 1, 1)[0, 0])
    rate: Floats = (
        patient.at("artefact.mhr_bpm", t_s)
        + breath_bpm * slow_samples(streams, "mother.breath", t_s, 1.0, 1.0)
        + wave_bpm * slow_samples(streams, "mother", t_s, 3.5, 5.0)
        + drift_bpm * slow_samples(streams, "mother.drift", t_s, 120.0, 600.0)
        + (6 + 24 * effort) * contraction_level
    )
    return rate
