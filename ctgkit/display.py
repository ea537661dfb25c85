"""How a CTG is shown: paper, gaps, alarms, colours. Terminal, page and printed paper share it.

This module performs no I/O. FIGO 2015 is the FIGO consensus on intrapartum fetal monitoring
(Ayres-de-Campos et al., Int J Gynaecol Obstet 2015;131:13-24).
"""

from typing import TYPE_CHECKING, Literal, NamedTuple

from ctgkit.samples import GAP_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DISCLAIMER = "Test tool, not a medical device"


class Scale(NamedTuple):
    """A vertical axis of CTG paper."""

    lo: float
    hi: float
    lines: tuple[float, ...]
    """Distances between grid lines, the finest first; a small picture takes a coarser one."""
    per_cm: float
    """Units per centimetre of paper."""


FHR_SCALES = (
    Scale(50.0, 210.0, (10.0, 20.0, 40.0, 80.0), 20.0),
    Scale(30.0, 240.0, (10.0, 30.0, 60.0, 120.0), 30.0),
)
"""Heart rate, beats/min: the two papers in use, 20 and 30 beats/min per cm (docs/views.md)."""

TOCO_SCALE = Scale(0.0, 100.0, (10.0, 20.0, 50.0, 100.0), 25.0)
"""Toco, device units or mmHg: 0-100 on 4 cm (docs/views.md)."""

PAPER_SPEEDS_CM_MIN = (1, 2, 3)
"""1 cm/min in much of Europe, 3 cm/min in the USA and Japan (FIGO 2015, section 4)."""

NORMAL_BAND_BPM = (110.0, 160.0)
"""Normal baseline, beats/min (FIGO 2015, table 1): shaded, and the default alarm limits."""

MAX_STEP_BPM = 30.0
"""Two neighbouring heart rates further apart are not joined, beats/min. Chosen: the larger of the
25-30 beats/min at which monitors take a jump for an artefact (docs/views.md)."""

QUALITY_WINDOW_S = 60.0
"""Signal quality is the share of samples with a heart rate over this long, seconds. Chosen."""

POOR_SIGNAL_SHARE = 0.5
"""Below this share the signal is marked as poor. Chosen: less than half is more gap than trace."""

CONTRACTIONS_OVER_S = 600.0
"""Contractions are counted per 10 minutes (FIGO 2015, section 5)."""

STALE_AFTER_S = 5.0
"""A sensor that sent nothing for this long, in wall time, is shown as silent, seconds. Chosen."""

REORDER_S = 2.0
"""Data time that falls back further than this starts a new trace, seconds. Chosen."""

MAX_SENSORS = 64
"""Sensors shown at once; results of further ones are counted. Chosen: eight by eight tiles."""

MAX_EVENTS = 2000
"""Events kept per sensor. Chosen: four hours hold some hundreds."""

GRID_CM = 0.5
"""Distance of the fine vertical grid lines, cm: squares with 10 beats/min on the 20 beats/min/cm
paper, 10 s at 3 cm/min (docs/views.md). Each minute has a heavy one."""

STATUS_SIGNS = {"ok": "●", "warning": "▲", "critical": "■", "error": "✕"}
EVENT_SIGNS = {"acceleration": "▲", "deceleration": "▼", "contraction": "●"}
EVENT_LABELS = {"acceleration": "A", "deceleration": "D", "contraction": "UC"}
"""The kinds of event that are drawn, each with its sign, and the label of its lane. The lanes lie
between heart rate and toco, from top to bottom."""
DECELERATION_LETTERS = {"early": "E", "late": "L", "variable": "V", "prolonged": "P"}
"""Stands beside the sign of a deceleration whose subtype begins with the word."""

AlarmKind = Literal["fhr_low", "fhr_high", "signal_loss", "critical"]


class AlarmRule(NamedTuple):
    """When an alarm is raised, and what it says."""

    text: str
    delay_s: float
    """How long the condition must hold without a break, seconds of data time."""


ALARMS: dict[AlarmKind, AlarmRule] = {
    "critical": AlarmRule("analyzer says critical", 0.0),
    "fhr_low": AlarmRule(f"FHR below {NORMAL_BAND_BPM[0]:g}", 30.0),
    "fhr_high": AlarmRule(f"FHR above {NORMAL_BAND_BPM[1]:g}", 30.0),
    "signal_loss": AlarmRule("no FHR signal", 60.0),
}
"""The most serious first. 30 s beyond a limit as bedside monitors do (docs/views.md); 60 s
without signal is chosen. All latch until acknowledged."""


class Colour(NamedTuple):
    """One meaning in three palettes."""

    light: str
    """On :data:`COLOURS` ``["paper"].light``."""
    dark: str
    """On :data:`COLOURS` ``["paper"].dark``."""
    ansi: str
    """For terminals whose background is unknown: one of their own colours, or ``default``."""


COLOURS = {
    "paper": Colour("#fdf6ec", "#14181c", "default"),
    "band": Colour("#eaf2dc", "#1c2a22", "default"),
    "grid": Colour("#d49a82", "#5c6a77", "default"),
    "limit": Colour("#4f8a3c", "#5f9e6a", "green"),
    "ink": Colour("#1c1c1c", "#e6e6e6", "default"),
    "faint": Colour("#6b6259", "#9aa4ad", "default"),
    "fhr": Colour("#10102a", "#f4f4f4", "default"),
    "toco": Colour("#1f4fa0", "#7fb2ff", "magenta"),
    "acceleration": Colour("#1d6b2f", "#6fd08a", "default"),
    "deceleration": Colour("#a8201a", "#ff8a80", "red"),
    "contraction": Colour("#1f4fa0", "#7fb2ff", "magenta"),
    "ok": Colour("#1d6b2f", "#6fd08a", "default"),
    "warning": Colour("#8a5200", "#ffc46b", "red"),
    "critical": Colour("#a8201a", "#ff8a80", "red"),
}
"""What each colour means; no meaning is carried by colour alone."""

GRAPHIC_COLOURS = ("limit",)
"""Lines rather than text: 3:1 against the paper is enough for them (WCAG 2.2, 1.4.11)."""
DECORATIVE_COLOURS = ("paper", "band", "grid")
"""No information is lost when they aren't seen."""


def clock(t_s: float, *, seconds: bool = False) -> str:
    """Return data time as hours and minutes.

    >>> clock(3750), clock(3750, seconds=True)
    ('1:02', '1:02:30')
    """
    minutes, rest_s = divmod(int(t_s), 60)
    text = f"{minutes // 60}:{minutes % 60:02d}"
    return f"{text}:{rest_s:02d}" if seconds else text


def joined(
    t_s: "NDArray[np.float64]", values: "NDArray[np.float64]", max_step: float
) -> "NDArray[np.bool_]":
    """Tell which neighbouring samples a line may join: never over a gap.

    Parameters
    ----------
    t_s : ndarray of shape (n_samples,)
        Data time, seconds, increasing.
    values : ndarray of shape (n_samples,)
        Heart rate or toco; NaN where there is no signal.
    max_step : float
        Largest step that is believed; infinity for any.

    Returns
    -------
    ndarray of shape (n_samples - 1,)
        True where sample i and i + 1 both have signal, lie at most
        :data:`~ctgkit.samples.GAP_S` seconds apart and differ by at most *max_step*.

    Examples
    --------
    >>> import numpy as np
    >>> t_s = np.array([0.0, 1.0, 2.0, 5.0, 6.0])
    >>> joined(t_s, np.array([140.0, 142.0, np.nan, 140.0, 190.0]), 30.0).tolist()
    [True, False, False, False]
    """
    import numpy as np

    steps: NDArray[np.bool_] = np.abs(np.diff(values)) <= max_step  # False where either is NaN
    return steps & (np.diff(t_s) <= GAP_S)
