"""What a scenario can set: every knob with its unit, range, default and meaning.

This is the only such list; validation, ``ctgkit scenario show`` and docs/scenarios.md come from
it. This module performs no I/O.
"""

from typing import NamedTuple

from ctgkit.errors import excerpt, near


class Knob(NamedTuple):
    """A number that a scenario can set, ramp over time, or draw per patient."""

    unit: str
    low: float
    high: float
    default: float
    meaning: str
    fixed: bool = False
    """Whether it stays the same for a whole run; the timeline can't change it."""


class Choice(NamedTuple):
    """A word out of a few."""

    options: tuple[str, ...]
    default: str
    meaning: str


KNOBS: dict[str, Knob] = {
    "fhr.baseline_bpm": Knob("bpm", 50, 220, 138, "Baseline; normal is 110-160 (FIGO 2015)."),
    "fhr.drift_bpm": Knob("bpm", 0, 20, 4, "Standard deviation of the slow wandering."),
    "fhr.bandwidth_bpm": Knob(
        "bpm", 0, 60, 12, "Variability: 1-minute band; normal is 5-25 (FIGO 2015)."
    ),
    "fhr.bandwidth_spread": Knob(
        "", 0, 1, 0.2, "How much the band swells and shrinks within minutes (sd of its logarithm)."
    ),
    "fhr.oscillation": Knob(
        "", 0, 10, 1, "Factor on the power between 0.08 and 0.2 Hz; 3 looks saltatory."
    ),
    "fhr.vagal": Knob(
        "", 0, 3, 0.2, "Bursts that slow the heart within a beat; their size over the band's."
    ),
    "fhr.sinus_bpm": Knob("bpm", 0, 30, 0, "Amplitude of a sinusoidal pattern; 0 switches it off."),
    "fhr.sinus_per_min": Knob("/min", 1, 10, 4, "Frequency of that; 2-5 (FIGO 2015).", fixed=True),
    "fhr.sinus_jagged": Knob("", 0, 1, 0, "0 a smooth sine, 1 a triangle (pseudo-sinusoidal)."),
    "fhr.floor_bpm": Knob("bpm", 0, 5, 0.12, "Fast part that doesn't scale, rms; electrodes .8."),
    "state.quiet_min": Knob("min", 2, 120, 23, "Mean length of quiet sleep (1F)."),
    "state.active_min": Knob("min", 2, 120, 39, "Mean length of active sleep (2F)."),
    "accel.per_h": Knob("/h", 0, 60, 8, "Accelerations while active."),
    "accel.height_bpm": Knob("bpm", 5, 60, 25, "Median height."),
    "accel.duration_s": Knob("s", 10, 300, 34, "Median length."),
    "decel.early": Knob("", 0, 1, 0, "Share of contractions with an early deceleration."),
    "decel.late": Knob("", 0, 1, 0, "Share with a late deceleration."),
    "decel.variable": Knob("", 0, 1, 0, "Share with a typical variable deceleration."),
    "decel.atypical": Knob("", 0, 1, 0, "Share with an atypical (long, deep) variable one."),
    "decel.prolonged": Knob("", 0, 1, 0, "Share with a prolonged deceleration."),
    "decel.unlinked_per_h": Knob("/h", 0, 40, 0, "Variable decelerations without a contraction."),
    "decel.depth": Knob("", 0.1, 3, 1, "Factor on the depth of all decelerations."),
    "decel.duration": Knob(
        "", 0.2, 4, 1, "Factor on their length; over 1: of variable and atypical ones."
    ),
    "decel.follows": Knob(
        "", 0, 1, 0, "How far a variable one's depth follows its contraction's height, not chance."
    ),
    "decel.lag_s": Knob(
        "s", -60, 90, 7, "From a contraction's peak to the nadir of its variable deceleration."
    ),
    "decel.variability": Knob(
        "", 0, 4, 1, "Factor on variability inside them; hypoxia loses it, reflexes raise it."
    ),
    "decel.ragged": Knob(
        "", 0, 2, 0, "How much short falls and recoveries break them up, over their depth."
    ),
    "toco.per_10min": Knob("/10 min", 0, 10, 3.5, "Contractions; more than 5 is tachysystole."),
    "toco.amplitude": Knob("units", 0, 120, 40, "Median height above the resting tone."),
    "toco.amplitude_spread": Knob("", 0, 1.5, 0.25, "Sd of the logarithm of the height."),
    "toco.duration_s": Knob("s", 20, 400, 78, "Median length, measured at 10 % of the height."),
    "toco.duration_spread": Knob("", 0, 1, 0.2, "Sd of the logarithm of the length."),
    "toco.interval_cv": Knob("", 0, 0.6, 0.28, "Irregularity: sd of the interval over its mean."),
    "toco.tone": Knob("units", 0, 100, 10, "Resting tone."),
    "toco.push": Knob("", 0, 1, 0, "How hard the mother bears down in contractions (stage II)."),
    "toco.breathing": Knob("units", 0, 20, 0.4, "Size (rms) of the breathing ripple."),
    "toco.breathing_per_min": Knob("/min", 8, 40, 20, "The mother's breathing rate.", fixed=True),
    "toco.noise": Knob("units", 0, 20, 0.5, "Size (rms) of belt and muscle noise."),
    "toco.noise_slope": Knob("", 0, 8, 2.4, "Fall of that noise's power.", fixed=True),
    "toco.smoothing_s": Knob("s", 0, 10, 0.5, "Length of the moving average.", fixed=True),
    "toco.drift": Knob("units", 0, 40, 2, "Size (rms) of the belt's slow drift."),
    "toco.spikes_per_h": Knob("/h", 0, 240, 4, "Movement artefacts."),
    "toco.shifts_per_h": Knob("/h", 0, 120, 0, "Sudden shifts of the belt that settle slowly."),
    "toco.noise_corner_hz": Knob(
        "Hz", 0.01, 0.5, 0.04, "Where the belt noise begins to fall.", fixed=True
    ),
    "toco.breathing_width": Knob(
        "", 0.02, 1, 0.3, "How far its rate wanders: sd over the mean.", fixed=True
    ),
    "toco.noise_tail": Knob("units", 0, 5, 0.1, "Its fast part, above 0.3 Hz, rms."),
    "toco.lifted_per_h": Knob("/h", 0, 12, 0, "Stretches of minutes with the belt off the skin."),
    "toco.rezero_per_h": Knob("/h", 0, 12, 0, "Nurse's resets to the zero line."),
    "toco.gain": Knob("", 0, 3, 1, "What the belt shows of the true tone; 0 is a lifted belt."),
    "toco.update_s": Knob("s", 0.25, 4, 0.25, "Period of the shown value.", fixed=True),
    "toco.saturation": Knob("units", 20, 127, 127, "Highest value shown."),
    "toco.grid": Knob("units", 0.1, 2, 0.5, "Step of the shown value.", fixed=True),
    "loss.share": Knob("", 0, 1, 0.03, "Share of time without heart rate (clean .005, poor .25)."),
    "loss.long_share": Knob("", 0, 1, 0.4, "Part of it that is in gaps of minutes."),
    "loss.shortest_s": Knob("s", 0.25, 5, 1, "Shortest gap.", fixed=True),
    "loss.unsteady": Knob(
        "",
        0,
        3,
        0.4,
        "How much the loss swells and shrinks within ten minutes (sd of its logarithm).",
    ),
    "loss.off_share": Knob("", 0, 1, 0, "Share of the long gaps in which the toco is off too."),
    "loss.events": Knob(
        "", 1, 6, 2, "Factor on the hazard in contractions and falling heart rate."
    ),
    "artefact.capture_per_h": Knob("/h", 0, 60, 0, "Episodes that show the mother's heart rate."),
    "artefact.mhr_bpm": Knob("bpm", 40, 160, 88, "The mother's heart rate; 68-112 in labour."),
    "artefact.doubling_per_h": Knob("/h", 0, 120, 0, "Doubled heart rate, when below 120 bpm."),
    "artefact.halving_per_h": Knob("/h", 0, 120, 0, "Halved heart rate, when above 180 bpm."),
    "artefact.outlier_per_h": Knob("/h", 0, 240, 0, "Seconds-long nonsense values."),
    "artefact.twin_per_h": Knob("/h", 0, 60, 0, "Episodes that show the other twin's heart rate."),
    "artefact.wrong_lock": Knob(
        "", 0, 1, 0, "Share of short stretches between gaps that show something else."
    ),
    "sensor.missed_update": Knob("", 0, 1, 0.1, "Share of beats that the monitor repeats."),
    "sensor.doubt_per_h": Knob(
        "/h", 0, 360, 20, "Spells of a second or two in which the value isn't updated."
    ),
    "sensor.beat_error": Knob("", 0, 10, 1, "Factor on the error of one beat.", fixed=True),
    "sensor.blur_s": Knob(
        "s", 0, 2, 0.2, "Error of one beat over the slope of the heart rate.", fixed=True
    ),
    "sensor.interval_ms": Knob(
        "ms", 0.1, 5, 0.625, "Step of the beat intervals that the monitor measures.", fixed=True
    ),
    "sensor.hold_s": Knob(
        "s", 0, 6, 3.2, "How long the last value is repeated before a gap.", fixed=True
    ),
    "sensor.hold_share": Knob("", 0, 1, 0.95, "Share of gaps that begin so.", fixed=True),
    "sensor.fading": Knob(
        "", 0, 5, 1, "Factor on how far the monitor is off beside short gaps.", fixed=True
    ),
    "sensor.grid_bpm": Knob("bpm", 0.1, 5, 0.25, "Step of the shown heart rate.", fixed=True),
    "hypoxia.sensitivity": Knob(
        "", 0, 5, 0, "Oxygen debt that interrupted supply makes; 0: the fetus isn't simulated."
    ),
    "hypoxia.placenta": Knob(
        "", 0, 1, 0, "Share of the supply that a contraction interrupts; late decelerations follow."
    ),
    "hypoxia.base_deficit": Knob("mmol/L", -2, 20, 3, "Base deficit at the start.", fixed=True),
    "hypoxia.pco2": Knob("mmHg", 25, 90, 47, "pCO2 at rest.", fixed=True),
    "hypoxia.nominal_ph": Knob(
        "pH", 6.5, 7.5, 7.3, "Nominal cord pH where the fetus isn't simulated: truth only."
    ),
}

CHOICES: dict[str, Choice] = {
    "state.mode": Choice(
        ("none", "cycling", "quiet", "active", "awake"),
        "none",
        "Behavioural states: none, 1F and 2F in turn, or one of them for good (1F, 2F, 4F).",
    ),
    "sensor.method": Choice(
        ("doppler", "scalp"),
        "doppler",
        "Ultrasound, or a scalp electrode: other gaps, and intervals in steps of 2 ms.",
    ),
    "sensor.twins": Choice(
        ("no", "yes"),
        "no",
        "Whether sensors 0 and 1, 2 and 3, … are on twins: one mother and toco, two hearts.",
    ),
    "sensor.profile": Choice(
        ("clinical", "original"),
        "clinical",
        "Wire units: toco 0-127 and contraction 0-127, or the original 14-36 and 20-36.",
    ),
}


class Forced(NamedTuple):
    """An event that a timeline or an instructor can force."""

    size_unit: str
    size_low: float
    size_high: float
    size: float
    duration_low_s: float
    duration_high_s: float
    duration_s: float
    meaning: str


FORCED: dict[str, Forced] = {
    "acceleration": Forced("bpm", 5, 60, 25, 10, 600, 35, "A rise of the heart rate."),
    "early_deceleration": Forced("bpm", 5, 60, 20, 80, 150, 90, "A shallow symmetric dip."),
    "late_deceleration": Forced("bpm", 5, 80, 30, 90, 179, 110, "A gradual dip."),
    "variable_deceleration": Forced("bpm", 10, 120, 40, 15, 90, 35, "An abrupt dip."),
    "atypical_deceleration": Forced("bpm", 10, 120, 60, 60, 180, 80, "Abrupt, slow to recover."),
    "prolonged_deceleration": Forced("bpm", 15, 120, 60, 185, 3600, 300, "Minutes long."),
    "contraction": Forced("units", 5, 127, 60, 30, 400, 80, "A contraction."),
    "loss": Forced("", 0, 1, 1, 0.25, 86400, 30, "No heart rate."),
    "off": Forced("", 0, 1, 1, 0.25, 86400, 60, "Neither heart rate nor toco: cable out."),
    "maternal_capture": Forced("", 0, 1, 1, 1, 86400, 30, "The mother's heart rate is shown."),
    "doubling": Forced("", 0, 1, 1, 1, 600, 10, "Twice the heart rate is shown."),
    "halving": Forced("", 0, 1, 1, 1, 600, 10, "Half the heart rate is shown."),
    "rezero": Forced("units", 0, 60, 10, 0.25, 0.25, 0.25, "The toco is set to this value."),
}
"""Event -> size and duration with their ranges and defaults; a size in no unit is ignored."""

RAMP_MAX_S = 86_400.0
"""Longest way of a knob from one value to another, seconds."""


def check_change(knob: str, to: float, ramp_s: float) -> None:
    """Raise ValueError where a run can't turn a knob there, saying why.

    >>> check_change("fhr.baseline_bpm", 100, 60)
    >>> check_change("toco.grid", 1, 60)
    Traceback (most recent call last):
      ...
    ValueError: toco.grid stays the same for a whole run
    """
    if knob not in KNOBS:
        raise ValueError(f"unknown knob {excerpt(knob)!r}{near(knob, KNOBS)}")
    rules = KNOBS[knob]
    if rules.fixed:
        raise ValueError(f"{knob} stays the same for a whole run")
    if not rules.low <= to <= rules.high:
        unit = f" {rules.unit}" if rules.unit else ""
        raise ValueError(f"{knob} is {rules.low:g} to {rules.high:g}{unit}, not {to:g}")
    if not 0 <= ramp_s <= RAMP_MAX_S:
        raise ValueError(f"ramp_s {ramp_s:g} is outside 0 to {RAMP_MAX_S:g} s")
