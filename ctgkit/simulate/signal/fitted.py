"""Every constant that was fitted to recordings or taken from a paper, and where it comes from.

[M] measured on the development half (259 records) of the CTU-UHB intrapartum database
(Chudacek et al. 2014, doi 10.1186/1471-2393-14-16) and on FHRMA (Boudet et al. 2019);
[P] published; [D] chosen. Percentiles and medians only: no part of a recording is in here.
"""

import numpy as np

VARIABILITY_HZ = (
    0.001, 0.004, 0.008, 0.016, 0.023, 0.031, 0.047, 0.062, 0.078, 0.102, 0.125, 0.148, 0.203,
    0.25, 0.297, 0.398, 0.5, 0.703, 1.0, 2.0,
)  # fmt: skip
VARIABILITY_PSD = (
    600.0, 520.0, 357.0, 216.0, 120.0, 62.0, 33.7, 21.2, 14.4, 8.9, 6.2, 4.2, 1.63,
    0.87, 0.55, 0.26, 0.15, 0.06, 0.02, 0.003,
)  # fmt: skip
"""One-sided spectrum, bpm^2/Hz, of a heart rate whose 1-minute band is 10 bpm [M]: median over
clean 256 s windows; scales with the square of the band."""

BELL_POWER = (1.4, 2.4)
"""Range of the exponent of a contraction's bell [M]: width at 10 % over width at half height."""

RISE_MEAN, RISE_SD = 0.45, 0.12
"""Share of a contraction before its peak: quartiles .32/.44/.59 [M] include belt noise."""

QUIET_FACTOR, AWAKE_FACTOR = 0.5, 1.6
"""Variability of quiet sleep (1F) and of active wakefulness (4F) over that of 2F [P, signal
model 4.3: 4-8, 10-20 and up to 25 bpm]."""

QUIET_SHIFT_BPM, AWAKE_SHIFT_BPM = -3.0, 12.0
"""Baseline of 1F and 4F against 2F [P, signal model 4.1]."""

SPECTRUM_HZ = np.asarray(VARIABILITY_HZ)
