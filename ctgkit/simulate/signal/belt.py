"""The toco channel: tone, contractions and pushing; then what the belt adds to them."""

from typing import NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.breathing import breathing
from ctgkit.simulate.signal.contraction import Contraction, bell
from ctgkit.simulate.signal.noise import (
    ENGINE_HZ,
    FREQUENCIES_HZ,
    amplitudes,
    noise,
    slow,
    slow_samples,
)
from ctgkit.simulate.signal.stream import Floats, Streams

FULL_LEVEL = 40.0
"""Height at which a contraction counts as full strength for the fetus, units. Chosen."""

_SPIKE_SLOT_S, _REACH_S = 5.0, 45.0
_PULLS = 4
_SHIFT_SLOT_S, _REZERO_MEMORY_S = 20.0, 7200.0
_LIFT_SLOT_S = 120.0
_EFFORTS = 5


_MOVED_S = 300.0  # a belt that was put on again settles within this
_SETTLE_S = 600.0  # a shift of the belt is forgotten after this


class Toco(NamedTuple):
    """Arrays of shape (n_samples,), toco units."""

    clean: Floats
    """Tone, contractions and pushing."""
    contractile: Floats
    """Without the tone."""
    shown: Floats
    """With the belt's artefacts, between 0 and saturation, before the grid."""


def level(contractions: list[Contraction], t_s: Floats) -> Floats:
    """Return how strong the contraction is at *t_s*, 0 to 1, shape (n_samples,)."""
    sum_ = np.zeros_like(t_s)
    for c in contractions:
        inside, shape = bell(c, t_s)
        sum_[inside] += min(c.height / FULL_LEVEL, 1.0) * shape
    return np.minimum(sum_, 1.0)


def _push(patient: Patient, streams: Streams, c: Contraction, t_s: Floats, wave: Floats) -> None:
    """Add to *wave* how she bears down in a contraction: 3-5 efforts of 5-9 s, 8-12 s apart."""
    strength = patient.at("toco.push", c.peak_s)
    if strength == 0:
        return
    u = streams.uniform("toco.push", c.number, c.number + 1, 3 * _EFFORTS + 3)[0].tolist()
    least, most = fitted.PUSHED
    if u[-3] > least + (most - least) * float(streams.generator("toco.push.own", 0).random()):
        return
    centre_s = c.onset_s + 14 + 5 * u[-1]
    for i in range(3 + int(3 * u[-2])):
        half_s, height = 2.8 + 2 * u[3 * i], strength * (20 + 40 * u[3 * i + 1])
        low, high = t_s.searchsorted((centre_s - 2 * half_s, centre_s + 2 * half_s)).tolist()
        x = (t_s[low:high] - centre_s) / half_s
        wave[low:high] += height * np.exp(-np.abs(x**3))  # as abrupt as a push is
        centre_s += 7.5 + 4.5 * u[3 * i + 2]


def _felt(streams: Streams, c: Contraction, t_s: Floats, wave: Floats) -> None:
    """Add to *wave* what the belt makes of a contraction: it gives way late, as creep does."""
    low, high = t_s.searchsorted((c.peak_s, c.peak_s + 2 * c.fall_s))
    if low == high:
        return
    share, lateness = streams.generator("toco.felt", c.number).random(2).tolist()
    x = (t_s[low:high] - c.peak_s) / c.fall_s
    slowness = 0.4 + 0.6 * lateness
    rest = np.exp(-x / slowness) - np.exp(-2 / slowness)  # no step at its end
    wave[low:high] += fitted.CREEP * share * c.height * (1 - np.exp(-9 * x * x)) * rest


def _pulls(
    streams: Streams, name: str, slot: int, size: float, start_s: float, t_s: Floats, wave: Floats
) -> None:
    """Add a movement to *wave*: one to four pulls at the belt, each sudden and slow to end."""
    row = streams.generator(name, slot).random(1 + 5 * _PULLS)
    count = 1 + int(_PULLS * row[0] ** 2)
    at_s = start_s
    for gap, width, lag, bend, share in row[1:].reshape(_PULLS, 5)[:count].tolist():
        rise_s = 0.15 * 10.0**width
        fall_s = rise_s * 5.0**lag
        low, high = t_s.searchsorted((at_s - _REACH_S, at_s + _REACH_S))
        x = t_s[low:high] - at_s
        x = np.where(x < 0, x / -rise_s, x / fall_s)
        height = size * (0.3 + share) if share < 0.9 else -size * share
        wave[low:high] += height * np.exp(-(x ** (1 + bend)))
        at_s += 0.8 + 5 * gap


def _spikes(patient: Patient, streams: Streams, t_s: Floats) -> Floats | float:
    """Return movements of the mother."""
    if patient.never("toco.spikes_per_h"):
        return 0.0
    first = int((t_s[0] - 2 * _REACH_S) // _SPIKE_SLOT_S)
    stop = int((t_s[-1] + _REACH_S) // _SPIKE_SLOT_S) + 1
    u = streams.uniform("toco.spike", first, stop, 3)
    starts = (np.arange(first, stop) + u[:, 1]) * _SPIKE_SLOT_S
    unrest = slow(streams, "toco.spike.unrest", starts, 60.0, 90.0)
    rate = patient.at("toco.spikes_per_h", starts) * np.exp(
        fitted.UNREST * unrest - fitted.UNREST**2 / 2
    )
    wave = np.zeros_like(t_s)
    for i in np.flatnonzero(u[:, 0] < rate * _SPIKE_SLOT_S / 3600):
        size, slot = _movement_size(float(u[i, 2])), first + int(i)
        _pulls(streams, "toco.spike.pulls", slot, size, float(starts[i]), t_s, wave)
    return wave


def _movement_size(u: float) -> float:
    least, power, most = fitted.MOVEMENT_SIZE
    return float(min(least * (1 - u) ** -power, most))


def _shifts(patient: Patient, streams: Streams, t_s: Floats) -> Floats | float:
    """Return sudden shifts of the belt, each with a movement, and then creeping back."""
    if patient.never("toco.shifts_per_h"):
        return 0.0
    first = int((t_s[0] - _SETTLE_S) // _SHIFT_SLOT_S)
    stop = int((t_s[-1] + _REACH_S) // _SHIFT_SLOT_S) + 1
    u = streams.uniform("toco.shift", first, stop, 5)
    starts = (np.arange(first, stop) + u[:, 1]) * _SHIFT_SLOT_S
    rate = patient.at("toco.shifts_per_h", starts)
    wave = np.zeros_like(t_s)
    for i in np.flatnonzero(u[:, 0] < rate * _SHIFT_SLOT_S / 3600):
        size = fitted.SHIFT_SIZE * (-np.log(1 - u[i, 2])) ** fitted.SHIFT_POWER
        size *= 1 if u[i, 3] < 0.6 else -1
        after = int(t_s.searchsorted(starts[i]))
        wave[after:] += size * _shifted(t_s[after:] - starts[i], *u[i, 3:].tolist())
        size, slot = 0.8 * abs(size), first + int(i)
        _pulls(streams, "toco.shift.pulls", slot, size, float(starts[i]), t_s, wave)
    return wave


def _shifted(since_s: Floats, lag: float, way: float) -> Floats:
    """Return how much of a shift is left, *since_s* after it: it lasts, or the belt creeps back."""
    if way < fitted.SHIFT_LASTS:
        lasts_s = 20 * (_SETTLE_S / 20) ** (way / fitted.SHIFT_LASTS)
        return np.where(since_s < lasts_s, 1.5, 0.0)
    settle_s = 5 * 40 ** (lag * 7 % 1)
    # creep, not a spring: fast at first, then slower and slower
    power = 0.35 + 0.6 * (way - fitted.SHIFT_LASTS) / (1 - fitted.SHIFT_LASTS)
    x = since_s / settle_s
    foot = np.exp(-((_SETTLE_S / settle_s) ** power))
    rest: Floats = np.maximum(np.exp(-(x**power)) - foot, 0)  # no step at its end
    return rest


class Rezero(NamedTuple):
    """From *t_s* on the belt reads *offset* more."""

    t_s: float
    offset: float


def rezeros(
    patient: Patient,
    streams: Streams,
    from_s: float,
    to_s: float,
    forced: list[tuple[float, float]],
) -> list[Rezero]:
    """Return the resets of the toco in [*from_s*, *to_s*), by time."""
    if not forced and patient.never("toco.rezero_per_h"):
        return []
    first, stop = int(from_s // _SHIFT_SLOT_S), int(to_s // _SHIFT_SLOT_S) + 1
    u = streams.uniform("toco.rezero", first, stop, 3)
    times = (np.arange(first, stop) + u[:, 1]) * _SHIFT_SLOT_S
    rate = patient.at("toco.rezero_per_h", times)
    resets = forced + [
        (float(times[i]), 10 + 10 * float(u[i, 2]))  # nurses set 10 to 20 (notes/signal_model.md 6)
        for i in np.flatnonzero(u[:, 0] < rate * _SHIFT_SLOT_S / 3600)
    ]
    found = []
    for t, target in resets:
        if from_s <= t < to_s:
            drift = float(_drift(patient, streams, np.array([t]))[0])
            found.append(Rezero(t, target - patient.at("toco.tone", t) - drift))
    return sorted(found)


def _in_force(
    patient: Patient,
    streams: Streams,
    from_s: float,
    to_s: float,
    forced: list[tuple[float, float]],
) -> list[Rezero]:
    """Return the resets before *to_s*, back to the one that holds at *from_s*.

    None is older than two hours before the first sample.
    """
    since_s = max(from_s, 0.0) - _REZERO_MEMORY_S
    found = rezeros(patient, streams, since_s, to_s, forced)
    if not forced and patient.never("toco.rezero_per_h"):
        return found
    while since_s > -_REZERO_MEMORY_S and (not found or found[0].t_s > from_s):
        to_s, since_s = since_s, max(since_s - _REZERO_MEMORY_S, -_REZERO_MEMORY_S)
        found = rezeros(patient, streams, since_s, to_s, forced) + found
    return found


class _Lift(NamedTuple):
    """The belt is off the skin."""

    from_s: float
    to_s: float
    shows: float
    moved: float
    """How much more it shows once it is on again, at another place."""
    slot: int


def _lifted(patient: Patient, streams: Streams, from_s: float, to_s: float) -> list[_Lift]:
    """Return the lifts of the belt that matter in [*from_s*, *to_s*)."""
    if patient.never("toco.lifted_per_h"):
        return []
    median_s, sigma = fitted.LIFTED_S
    first = int((from_s - 4 * median_s - 5 * _MOVED_S) // _LIFT_SLOT_S)
    stop = int(to_s // _LIFT_SLOT_S) + 1
    u = streams.uniform("toco.lifted", first, stop, 3)
    starts = (np.arange(first, stop) + u[:, 1]) * _LIFT_SLOT_S
    rate = patient.at("toco.lifted_per_h", starts)
    found = []
    for i in np.flatnonzero(u[:, 0] < rate * _LIFT_SLOT_S / 3600):
        long, other = streams.generator("toco.lifted.z", first + int(i)).standard_normal(2).tolist()
        to = float(starts[i]) + min(median_s * float(np.exp(sigma * long)), 4 * median_s)
        moved, slot = fitted.MOVED * other, first + int(i)
        found.append(_Lift(float(starts[i]), to, _empty(float(u[i, 2])), moved, slot))
    return found


def _put_on_again(streams: Streams, lift: _Lift, t_s: Floats, wave: Floats) -> None:
    """Add to *wave* what comes of it: pulls at the belt, and another level that settles."""
    after = int(t_s.searchsorted(lift.to_s))
    rest = np.exp((lift.to_s - t_s[after:]) / _MOVED_S) - np.exp(-5)
    wave[after:] += lift.moved * np.maximum(rest, 0)  # nothing of it is left when it is forgotten
    size = 10 + abs(lift.moved)
    _pulls(streams, "toco.lifted.pulls", lift.slot, size, lift.to_s, t_s, wave)


def _empty(u: float) -> float:
    """Return what a belt shows that isn't on the skin: zero, or what its last reset left."""
    return float(np.interp(u, *fitted.EMPTY))


def _idle(streams: Streams) -> float:
    return _empty(float(streams.uniform("toco.idle", 0, 1, 1)[0, 0]))


def _drift(patient: Patient, streams: Streams, t_s: Floats) -> Floats:
    drift: Floats = patient.at("toco.drift", t_s) * slow(streams, "toco.drift", t_s, 100.0, 450.0)
    return drift


def _offset(found: list[Rezero], t_s: Floats) -> Floats | float:
    if not found:
        return 0.0
    index = np.searchsorted([r.t_s for r in found], t_s, side="right")
    offset: Floats = np.array([0.0, *(r.offset for r in found)])[index]
    return offset


_OVER_CORNER = np.maximum(FREQUENCIES_HZ, FREQUENCIES_HZ[1]) / fitted.TAIL_CORNER_HZ
_TAIL = 1 / (_OVER_CORNER**-fitted.TAIL_RISE + _OVER_CORNER**fitted.TAIL_SLOPE)
_TAIL *= 1 + fitted.TAIL_HUMP[0] * np.exp(
    -0.5 * ((FREQUENCIES_HZ - fitted.TAIL_HUMP[1]) / fitted.TAIL_HUMP[2]) ** 2
)
_TAIL *= np.sinc(FREQUENCIES_HZ / ENGINE_HZ) ** 2  # monitors average over each sample's time
_TAIL /= _TAIL.sum() * FREQUENCIES_HZ[1]


_HEARD = ("noise", "noise_tail")


def _belt_noise(patient: Patient, streams: Streams, first: int, count: int) -> Floats:
    """Return belt and muscle noise."""
    slope = patient.at("toco.noise_slope", 0.0)
    corner_hz = patient.at("toco.noise_corner_hz", 0.0)
    body = np.exp(-slope / 2 * np.log(FREQUENCIES_HZ**2 + corner_hz**2))
    body /= body.sum() * FREQUENCIES_HZ[1]

    def scale(centre_s: float) -> Floats:
        size, tail = (patient.at(f"toco.{n}", max(centre_s, 0.0)) for n in _HEARD)
        return amplitudes(size**2 * body + tail**2 * _TAIL)

    steady = all(len(patient.edges_s(f"toco.{n}")) == 1 for n in _HEARD)
    return noise(streams, "toco.noise", first, count, scale(0.0) if steady else scale)


def _unrest(
    patient: Patient,
    streams: Streams,
    first: int,
    contractions: list[Contraction],
    contractile: Floats,
    push: Floats,
) -> Floats:
    """Return belt noise and breathing from engine sample *first* on."""
    count = len(contractile)
    t_s = np.arange(first, first + count) / ENGINE_HZ
    restless = slow_samples(streams, "toco.restless", t_s, 8.0, 14.0)
    mood = fitted.BELT_MOOD * slow_samples(streams, "toco.mood", t_s, 120.0, 600.0)
    unrest = _belt_noise(patient, streams, first, count)
    least, most = fitted.RESTLESS
    own = float(streams.generator("toco.restless.own", 0).random())
    unrest *= np.exp((least + (most - least) * own) * restless + mood)
    breath = breathing(patient, streams, t_s, contractions, restless)
    unrest += breath / (1 + (push / 8) ** 2)  # who pushes holds her breath
    unrest *= ((contractile + 1) / 10) ** fitted.BELT_TAUT  # a taut belt hears more
    return unrest


def toco(
    patient: Patient,
    streams: Streams,
    first: int,
    count: int,
    contractions: list[Contraction],
    forced_rezero: list[tuple[float, float]],
) -> Toco:
    """Return the toco of *count* engine samples from *first* on.

    Parameters
    ----------
    patient, streams
        Whose belt it is.
    first, count : int
        Engine sample index (4 Hz), and how many.
    contractions : list of Contraction
        Those that touch the stretch.
    forced_rezero : list of (float, float)
        Time, seconds, and value of forced resets.

    Returns
    -------
    Toco
        The first MARGIN samples of ``shown`` lack the smoothing's past: don't use them.
    """
    t_s = np.arange(first, first + count) / ENGINE_HZ
    contractile, felt, push = np.zeros(count), np.zeros(count), np.zeros(count)
    for c in contractions:
        inside, shape = bell(c, t_s)
        contractile[inside] += c.height * shape
        _push(patient, streams, c, t_s, push)
        _felt(streams, c, t_s, felt)
    contractile += push
    resets = _in_force(patient, streams, float(t_s[0]), float(t_s[-1]) + 0.01, forced_rezero)
    gain = patient.at("toco.gain", t_s)
    physiology = patient.at("toco.tone", t_s) + contractile
    unrest = _unrest(patient, streams, first, contractions, contractile, push)
    shown = gain * (
        physiology
        + felt
        + _drift(patient, streams, t_s)
        + _offset(resets, t_s)
        + _shifts(patient, streams, t_s)
        + _spikes(patient, streams, t_s)
        + unrest
    )
    width = max(1, round(patient.at("toco.smoothing_s", 0.0) * ENGINE_HZ))
    if width > 1:
        shown[width - 1 :] = np.convolve(shown, np.full(width, 1 / width), "valid")
    lifts = _lifted(patient, streams, float(t_s[0]), float(t_s[-1]))
    for lift in lifts:
        _put_on_again(streams, lift, t_s, shown)
    shown = np.clip(shown, 0, patient.at("toco.saturation", t_s))
    shown = np.where(gain == 0, _idle(streams), shown)
    for lift in lifts:
        shown[(t_s >= lift.from_s) & (t_s < lift.to_s)] = lift.shows
    return Toco(gain * physiology, gain * contractile, shown)
