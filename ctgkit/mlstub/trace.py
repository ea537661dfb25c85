"""The last 20 minutes of one sensor on a fixed grid, whatever its rate.

Pure. Samples go into 4 Hz slots by their data time, counted from the first sample. Every 10 s of
data time a *tick* is complete: only then is anything computed, so the result can't depend on how
the samples arrived.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ctgkit.mlstub import baseline, validity
from ctgkit.samples import GAP_S

SLOT_HZ: Final = 4
TICK_S: Final = 10
"""How often the baseline and the events are looked at again, seconds of data time."""

WINDOW_S: Final = 1200
"""How much signal is kept, seconds; 40 min are no better for the baseline (analysis.md 4.2)."""

TICK_SLOTS: Final = TICK_S * SLOT_HZ
_HOLD_SLOTS = int(GAP_S * SLOT_HZ)
_JUDGED_S, _SETTLED_S = 120, 60
"""Validity is judged over the last 120 s, and rewritten for the last 60 of them: so each run has
60 s of context on its left."""

Floats = NDArray[np.float64]
_BIN_SLOTS = int(baseline.BIN_S * SLOT_HZ)


class Trace:
    """Windows of equal length that end *now*; the newest value is the last one."""

    def __init__(self, origin_s: float) -> None:
        self.origin_s = origin_s
        """Data time of the first slot, seconds."""
        self.ticks = 0
        """Complete ticks."""
        self.now_s = origin_s
        """Data time of the end of the window, seconds."""
        self.late = 0
        """Samples that came for a tick that was complete already, and were left out."""
        self.fhr_bpm = np.full(WINDOW_S * SLOT_HZ, np.nan)
        """4 Hz; NaN where the signal isn't usable."""
        self.reason = np.full(WINDOW_S * SLOT_HZ, validity.Reason.NO_SIGNAL, np.int8)
        """4 Hz; :class:`~ctgkit.mlstub.validity.Reason`."""
        self.toco = np.full(WINDOW_S, np.nan)
        """1 Hz, device units; NaN where not measured."""
        self.fhr_1hz = np.full(WINDOW_S, np.nan)
        """1 Hz means of the usable signal, beats/min."""
        self.mean_bpm = np.full(int(WINDOW_S / baseline.BIN_S), np.nan)
        """Means over 2.5 s, beats/min."""
        self.valid_share = np.zeros(int(WINDOW_S / baseline.BIN_S))
        """Share of usable samples in each of them."""
        self._raw = np.full(_JUDGED_S * SLOT_HZ, np.nan)
        self._open_fhr = [0.0] * TICK_SLOTS
        self._open_toco = [np.nan] * TICK_SLOTS
        self._filled = 0

    def slot_of(self, sec_from_start: float) -> int:
        """Return the slot of a data time, counted from the first slot of the open tick."""
        return int((sec_from_start - self.now_s) * SLOT_HZ + 1e-6)

    def put(self, slot: int, fhr_bpm: float, toco: float) -> None:
        """Put a sample into the open tick.

        A sample is held until the next one, for at most :data:`~ctgkit.samples.GAP_S`: that is
        how monitors fill their grid. Of several samples for one slot the last one counts.

        Parameters
        ----------
        slot : int
            In [0, 40); earlier ones are counted as late.
        fhr_bpm : float
            Heart rate, beats/min; 0 without signal.
        toco : float
            Uterine activity; NaN when not measured.
        """
        if slot < 0:
            self.late += 1
            return
        if slot > self._filled:
            self._hold_until(slot)
        self._open_fhr[slot] = fhr_bpm
        self._open_toco[slot] = toco
        if slot >= self._filled:
            self._filled = slot + 1

    def _hold_until(self, slot: int) -> None:
        start = self._filled
        if start > 0 and slot - start < _HOLD_SLOTS:
            for at in range(start, slot):
                self._open_fhr[at] = self._open_fhr[start - 1]
                self._open_toco[at] = self._open_toco[start - 1]
        self._filled = slot

    def close_tick(self, next_slot: int) -> None:
        """Complete the open tick: move the windows on by 10 s and judge what is new.

        Parameters
        ----------
        next_slot : int
            The slot of the sample that ended it, 40 or more.
        """
        if next_slot - self._filled < _HOLD_SLOTS:
            self._hold_until(TICK_SLOTS)
        fhr_bpm, toco = np.array(self._open_fhr), np.array(self._open_toco)
        _shift(self._raw, fhr_bpm)
        known = np.isfinite(toco).reshape(TICK_S, SLOT_HZ)
        level = np.where(known, toco.reshape(TICK_S, SLOT_HZ), 0.0).sum(axis=1)
        share = known.sum(axis=1)
        _shift(self.toco, np.where(share > 0, level / np.maximum(share, 1), np.nan))
        self._judge()
        held = (self._open_fhr[-1], self._open_toco[-1]) if self._filled == TICK_SLOTS else None
        self._open_fhr = [0.0] * TICK_SLOTS
        self._open_toco = [np.nan] * TICK_SLOTS
        self._filled = 0
        self.ticks += 1
        self.now_s = self.origin_s + self.ticks * TICK_S
        reach = min(next_slot - TICK_SLOTS, TICK_SLOTS)
        if held and next_slot - TICK_SLOTS < _HOLD_SLOTS:
            self._open_fhr[:reach] = [held[0]] * reach
            self._open_toco[:reach] = [held[1]] * reach
            self._filled = reach

    def _judge(self) -> None:
        reason = validity.judge(self._raw)
        fhr_bpm = np.where(reason == validity.Reason.GOOD, self._raw, np.nan)
        n = _SETTLED_S * SLOT_HZ
        fhr_bpm = fhr_bpm[-n:]
        _rewrite(self.reason, reason[-n:], TICK_SLOTS)
        _rewrite(self.fhr_bpm, fhr_bpm, TICK_SLOTS)
        _rewrite(self.fhr_1hz, _means(fhr_bpm, SLOT_HZ)[0], TICK_S)
        mean_bpm, share = _means(fhr_bpm, _BIN_SLOTS)
        _rewrite(self.mean_bpm, mean_bpm, TICK_SLOTS // _BIN_SLOTS)
        _rewrite(self.valid_share, share, TICK_SLOTS // _BIN_SLOTS)


def _shift(window: NDArray[np.generic], new: NDArray[np.generic]) -> None:
    window[: -new.size] = window[new.size :]
    window[-new.size :] = new


def _rewrite(window: NDArray[np.generic], tail: NDArray[np.generic], new: int) -> None:
    """Move a window on by *new* values, and write its end anew."""
    window[:-new] = window[new:]
    window[-tail.size :] = tail


def _means(values: Floats, group: int) -> tuple[Floats, Floats]:
    """Return the mean and the share of the finite values in each group."""
    rows = values.reshape(-1, group)
    known = np.isfinite(rows)
    count = known.sum(axis=1)
    total = np.where(known, rows, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count / group
