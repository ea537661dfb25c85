"""Every constant that was fitted to recordings or taken from a paper, and where it comes from.

[M] measured on the development half (259 records) of the CTU-UHB intrapartum database
(Chudacek et al. 2014, doi 10.1186/1471-2393-14-16) and on FHRMA (Boudet et al. 2019);
[P] published; [D] chosen. Percentiles and medians only: no part of a recording is in here.
"""

VARIABILITY_HZ = (
    0.001, 0.004, 0.008, 0.016, 0.023, 0.031, 0.047, 0.062, 0.078, 0.102, 0.125, 0.148, 0.203,
    0.25, 0.297, 0.398, 0.5, 0.703, 1.0, 2.0,
)  # fmt: skip
VARIABILITY_PSD = (
    1300.0, 520.0, 175.0, 115.0, 78.0, 47.0, 31.0, 21.2, 14.4, 8.9, 6.2, 4.2, 1.63,
    0.7, 0.4, 0.2, 0.11, 0.045, 0.018, 0.004,
)  # fmt: skip
"""One-sided spectrum, bpm^2/Hz, of a heart rate whose 1-minute band is 10 bpm, of the real one
[M, median over clean 256 s windows] what drift, events, floor and beat error leave to it; scales
with the square of the band."""

SWING_HZ, SWING_BPM, SWING_BAND = 0.045, 11.0, 0.6
"""Below this frequency variability is bent towards this size, or this share of the band: a larger
slow swing would be an acceleration or a deceleration, and those are events of the truth [D]."""

DRIFT_S = (220.0, 800.0)
"""Distance of the knots and correlation time of the baseline's drift, s [D]: what comes and goes
within two minutes would be an event, not a baseline."""

VAGAL_PER_MIN, VAGAL_S, VAGAL_POWER, VAGAL_MEAN = 4.0, 3.0, 1.6, 1.43
"""Bursts of the vagus: how often, time constant of the recovery in s, exponent that stretches an
exponential distribution of sizes, and its mean [M, from the steepness of falls and recoveries]."""

VAGAL_BPM = 45.0
"""What bursts of the vagus are bent towards, bpm [M, needles of 45 bpm and more: 0.6 per hour]."""

FLOOR_SLOPE = 1.8
"""Fall of the spectrum above 0.3 Hz, where it no longer scales with the band [M]."""

FLOOR_POWER = 0.5
"""The fast part grows with this power of the band [M, spectrum at 1 Hz over bands]."""

DOPPLER_DELAY_S = 0.06
"""Longest delay of an ultrasound update after its beat [M]: fits how long values repeat."""

LIFTED_S = (480.0, 0.8)
"""Belt off the skin: median in s, sd of the logarithm [M, longest constant stretch of 20 minutes
with a heart rate: 2.8, 22, 190, 450, 710 s at p5, p50, p75, p90, p95]."""

MOVED = 25.0
"""Sd of the change of level when a belt is put on again, units [D: boxes that come back
to the same level are rare]."""

SHIFT_SIZE, SHIFT_POWER = 10.0, 1.4
"""Size of a sudden belt shift, units before the gain (a cohort's median: 1.5), and the exponent
that stretches its exponential distribution [M: mean 14 units, kurtosis of changes over 30 s]."""

SHIFT_LASTS = 0.3
"""Share of the shifts that last until the belt is moved back, 20 s to 10 min later [D, by eye]."""

PUSHED = (0.4, 1.0)
"""Range over mothers of the share of contractions in which they push [D, by eye]."""

BELT_MOOD = 0.45
"""Sd of the logarithm of the belt's artefacts over ten minutes [M]."""

BELT_TAUT = 0.3
"""The belt's artefacts grow with this power of the contraction's height + 1 [M: 0.46 of the height
+ 3 in all, of which the larger noise of belts with higher contractions is a part]."""

TAIL_CORNER_HZ, TAIL_RISE, TAIL_SLOPE = 0.42, 6.0, 1.65
"""Where the spectrum of the belt's fast noise turns from its rise to its fall, and the powers of
both [M, spectrum of ultrasound monitors: least at 0.3 Hz, most at 0.45 Hz]."""

TAIL_HUMP = (0.7, 0.5, 0.12)
"""A hump on its spectrum: height over the rest, centre and width in Hz [M, spectrum 0.4-0.7 Hz]."""

RESTLESS = (0.15, 0.95)
"""Range over mothers of the sd of the logarithm of the belt noise: it comes in bouts of some 15 s
[M, spread over 15 s pieces, and kurtosis of changes, over ten-minute windows]."""

MOVEMENT_SIZE = (5.0, 0.7, 70.0)
"""Size of a movement under the belt, units: the least, the power of its Pareto tail, the most
[M, kurtosis of the toco's changes over 5 to 15 s]."""

UNREST = 1.0
"""Sd of the logarithm of how often movements come, over a minute and a half [M, the same over
30 s]: they come in bouts."""

CREEP = 0.6
"""Most of a contraction that the belt still shows as it ends, over its height [M: length and
roughness of contractions]."""

EMPTY = ([0.0, 0.72, 0.85, 0.97, 1.0], [0.0, 0.0, 3.0, 12.0, 20.0])
"""What a belt off the skin shows: shares, and units [M, stretches of a minute and more]."""

BREATH_GAIN = 0.95
"""Rms of breathing in the trace over the knob's [M, spectrum]."""

BREATH_WANDER_S = 18.0
"""Breaths are early or late by this times the spread of their rate [M, change of the period over
28 s, and its spread within a recording]."""

BREATH_UNEVEN = (0.45, 1.1)
"""Range over mothers of how uneven breaths are, in s over 8 s [M, share of windows of 28 s
with a clear ripple, over recordings]."""

BREATH_PEAK, BREATH_SKEW = 1.7, 0.3
"""Peakedness of a breath of 4 s, at most: slow breaths are narrow pulls with a pause, fast ones a
sine; and how much faster it rises than it falls [D, by eye, within M, spectrum]."""

BREATH_DEPTH = 0.65
"""Sd of the logarithm of a breath's size over seven minutes [M, spread of the spectrum at 0.2 to
0.5 Hz over a recording's ten-minute windows; size of a clear ripple]."""

BREATHS_IN_CONTRACTION = (-0.45, 0.08)
"""Range over mothers of how many more breaths they take in a contraction, over those at rest
[D, by eye, within M, spectrum]."""

EDGE_LOSS_S = 4.0
"""Loss before and after a wrong heart rate, sd of a half-normal, seconds [M]: the monitor lets
go of one signal before it takes the other."""

FLOOR_BOUTS = 0.6
"""Sd of the logarithm of its size, over about 10 s [M]: steps are heavier-tailed than Gaussian."""

GAP_EXCESS = {"doppler": (0.6, 1.22, 2.5), "scalp": (0.8, 1.1, 1.0)}
"""Short gaps [M]: length beyond the shortest is lognormal (median in s, sd of the logarithm); a
stretch of signal shorter than the third number, s, is not shown between two gaps."""

EDGE_LOCK, EDGE_LOCK_NO_HOLD = 0.005, 0.15
"""Share of gap edges at wrong levels over that of short stretches [M]: a monitor that holds its
last value shows little of them."""

FADING_BPM, FADING_BEFORE_S, FADING_AFTER_S = 6.3, 4.0, 8.0
"""Before the signal is lost and after it is found, the monitor is off by so much (sd, wandering)
for so long [M]: over 1 to 10 s from a gap the heart rate changes 1.3 times as much as elsewhere."""

FLICKER_SWELL = 1.5
"""Sd of the logarithm of the rate of short gaps within a minute [M]: they come in clusters."""

LONG_GAP_S = (60.0, 0.8, 85.0)
"""Gaps of minutes: median, sd of the logarithm, mean after clipping [M]: over 60 s are 1 % of the
gaps and half of the lost time."""

MEAN_STRESS = 0.2
"""Mean of the stress of contractions and falls on the signal in labour [D]: keeps the share of
loss as asked."""

BROKEN_EVERY_S, BROKEN_FALLS, BROKEN_SPREAD, BROKEN_GRADUAL = 7.0, 0.55, 0.5, 0.4
"""Short falls and recoveries inside decelerations: mean distance, share of falls, sd of the
logarithm of their size, and factor on it in early and late ones [M, steps, kurtosis]."""

LEFT = (0.18, 0.3, -12.0, 18.0)
"""What is left of a deceleration for a minute or two, over its depth: mean, sd; least and most, bpm
[M, changes of the heart rate over 1 to 12 minutes]."""

TALL_BPM = (30.0, 15.0)
"""From where on an acceleration's height is bent, and how much it can exceed that [D, by eye]."""

RAGGED_RISE = 0.03
"""Variability that a rise brings with it, over that of a band of 10 bpm, per bpm [D, by eye: the
tops of accelerations are uneven in quiet hearts too]."""

HIGHEST_RISE_BPM = 30.0
"""What variability is bent towards upwards, bpm: the vagus can be withdrawn only wholly [M, time
above 30 and 60 bpm over the median]."""

CORD_SPREAD_S, CORD_POWER = 8.0, 0.6
"""Sd of the time of a variable deceleration about its patient's own lag, s; its depth grows with
this power of the contraction's height [M, correlation of heart rate and toco over lags]."""

LOCKS_ON, LOCKS_ALIKE = (0.3, 0.04), 0.6
"""Shares of the mother and of half the rate, the rest is noise; how many fragments show what their
minute does [M, levels of fragments: 85-115 bpm are the most frequent, 50-75 rare]."""

LOCK_STRESS = (0.65, 1.1)
"""Factor on wrong levels: without stress, and what full stress adds [M, toco at fragments]."""

NOISE_BPM, NOISE_TURNS_BPM, NOISE_STAYS_Z = (143.0, 33.0), 5.0, 0.25
"""What the monitor makes of noise, bpm: mean, sd over a minute and over seconds; it is updated
where a normal is above the third number [M, levels, ranges and steps of fragments]."""

MOTHER_BPM = (1.8, 4.7, 5.0)
"""Sd of the mother's heart rate with her breath, in waves of about 10 s, over minutes [P, Task
Force 1996, doi 10.1161/01.CIR.93.5.1043: successive intervals of adults differ by 27 ms rms; M,
range of fragments of 10 to 40 s]."""

LOCK_LASTS_S, NOISE_LASTS_S = 40.0, 12.0
"""The longest stretch between gaps that shows something else, and the longest that is noise, s
[M]."""

ARTEFACT_S = {
    "maternal_capture": (23.0, 1.35),
    "twin": (90.0, 0.8),
    "doubling": (6.0, 0.7),
    "halving": (6.0, 0.7),
    "outlier": (1.5, 0.6),
}
"""Median length, s, and sd of its logarithm [M]; twin and outlier [D]."""

HOLD_FLICKER_Z = 0.2275
"""The last digit of a repeated value changes when a normal is this near to 0: at 18 % of the
samples [M]."""

BEAT_ERROR = {"doppler": 3.0, "scalp": 1.0}
"""Error of one beat over the size of the fast part [M]: successive steps of the shown heart rate
are all but uncorrelated."""

BEAT_SLIP, SLIP_FACTOR = 0.035, 3.0
"""Share of beats found at a wrong place, and their error over the usual one [M]."""

BEAT_STRAY, STRAY = 0.00065, (5.0, 5.0, 0.35)
"""Share of beats found far off, over the factor on their error; how far, bpm: least, mean of what
is more; share above [M, values that differ by 5 bpm and more from equal neighbours: 16 per hour in
the median, 40 % above]."""

WILD_BPM = {"doppler": 1.5, "scalp": 5.0}
"""Unevenness of what is shown in noise [M]: autocorrelation smooths it."""

LARGEST_JUMP = (28.0, 0.67)
"""The largest rise from one shown value to the next, bpm, and the least share that a fall leaves
[M: the extremes of 60 recordings are 28.75 bpm and 0.665]."""

BETWEEN_HEARTS_S = 1.0
"""Longest gap between two hearts, beyond the monitor's shortest gap, s [D]."""

DOUBT_BEATS = 3.0
"""Mean length of a spell without updates, beyond three beats [M]."""

BAND_GAIN = 1.14
"""Makes the measured band the one asked, with drift, floor and swelling counted in [D: from our
own signal, tests/simulate/test_realism.py]."""

BELL_POWER = (1.4, 2.4)
"""Range of the exponent of a contraction's bell [M]: width at 10 % over width at half height."""

RISE_MEAN, RISE_SD = 0.45, 0.16
"""Share of a contraction before its peak: quartiles .32/.44/.59 [M] include belt noise."""

QUIET_FACTOR, AWAKE_FACTOR = 0.5, 1.6
"""Variability of quiet sleep (1F) and of active wakefulness (4F) over that of 2F [P, signal
model 4.3: 4-8, 10-20 and up to 25 bpm]."""

QUIET_SHIFT_BPM, AWAKE_SHIFT_BPM = -3.0, 12.0
"""Baseline of 1F and 4F against 2F [P, notes/signal_model.md 4.1]."""

TERM_WEEKS, STV_24_MS, STV_TERM_MS, BASELINE_PER_WEEK_BPM = 39.5, 6.2, 9.1, 0.8
"""Short-term variation at 24 weeks and at term, and the fall of the baseline (144 bpm at 24 weeks,
131 at term) [P, Nijhuis 1998]."""

MATURITY_POWER = 0.5
"""Variability grows with this power of that variation: accelerations, which grow too, make part of
it [D: from our own signal, normal-reactive at 24 to 39.5 weeks]."""

SHORTEST_ACCELERATION_S = 19.0
"""At term [M, 18 s is the tenth percentile of experts' zones]: what is shorter is none."""

PRETERM_WEEKS, PRETERM_HEIGHT, PRETERM_LENGTH = 32.0, 0.55, 0.55
"""Accelerations before 32 weeks over those at term: 10 bpm for 10 s instead of 15 for 15."""


def maturity(ga_weeks: float) -> float:
    """Return variability at a gestational age over that at term.

    >>> round(maturity(24), 2), maturity(39.5)
    (0.83, 1.0)
    """
    stv_ms = STV_24_MS + (STV_TERM_MS - STV_24_MS) * (ga_weeks - 24) / (TERM_WEEKS - 24)
    return float(max(stv_ms / STV_TERM_MS, 0.5) ** MATURITY_POWER)
