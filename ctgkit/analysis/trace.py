"""The last 20 minutes of one sensor on a fixed grid, whatever its rate.

Pure. Samples go into 4 Hz slots by their data time, counted from the first sample. Every 10 s of
data time a *tick* is complete: only then is anything computed, so the result can't depend on how
the samples arrived. The heart rate is judged only when somebody wants to look at it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ctgkit.analysis import baseline, validity
from ctgkit.samples import GAP_S

SLOT_HZ: Final = 4
TICK_S: Final = 10
"""How often something may be computed, seconds of data time."""

WINDOW_S: Final = 1200
"""Signal that is kept, seconds; 40 min are no better for the baseline (notes/analysis.md 4.2)."""

TICK_SLOTS: Final = TICK_S * SLOT_HZ
_HOLD_SLOTS = int(GAP_S * SLOT_HZ)
_CONTEXT_S, _UNSETTLED_S = 60, 60
"""Validity is judged anew for what was judged less than 60 s after it came, because a run may turn
out to be noise by its end; 60 s before that are context."""
_JUDGED_MAX_S = 60
"""Signal that is judged at once is at most this long, seconds."""

Floats = NDArray[np.float64]
_BIN_SECONDS = int(baseline.BIN_S)


class Trace:
    """Windows of equal length; the newest value is the last one.

    The tocogram ends *now*, the heart rate at the last :meth:`judge`.
    """

    def __init__(self, origin_s: float) -> None:
        self.origin_s = origin_s
        """Data time of the first slot, seconds."""
        self.ticks = 0
        """Complete ticks."""
        self.now_s = origin_s
        """Data time of the end of the last complete tick, seconds."""
        self.judged_s = origin_s
        """Data time up to which the heart rate is judged, seconds."""
        self.late = 0
        """Samples that came for a tick that was complete already, and were left out."""
        self.fhr_bpm = np.full(WINDOW_S * SLOT_HZ, np.nan)
        """4 Hz; NaN where the signal isn't usable."""
        self.reason = np.full(WINDOW_S * SLOT_HZ, validity.Reason.NO_SIGNAL, np.int8)
        """4 Hz; :class:`~ctgkit.analysis.validity.Reason`."""
        self._toco = np.full(WINDOW_S, np.nan)
        self.fhr_1hz = np.full(WINDOW_S, np.nan)
        """1 Hz means of the usable signal, beats/min."""
        self.mean_bpm = np.full(int(WINDOW_S / baseline.BIN_S), np.nan)
        """Means over 2.5 s, beats/min."""
        self.valid_share = np.zeros(int(WINDOW_S / baseline.BIN_S))
        """Share of usable samples in each of them."""
        self._raw = np.zeros((_CONTEXT_S + _UNSETTLED_S + _JUDGED_MAX_S) * SLOT_HZ)
        self._waiting_fhr: list[float] = []
        """Of complete ticks, until somebody looks: that is cheaper for several at once."""
        self._waiting_toco: list[float] = []
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
        """Complete the open tick.

        Parameters
        ----------
        next_slot : int
            The slot of the sample that ended it, 40 or more.
        """
        if next_slot - self._filled < _HOLD_SLOTS:
            self._hold_until(TICK_SLOTS)
        self._waiting_fhr += self._open_fhr
        self._waiting_toco += self._open_toco
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

    @property
    def toco(self) -> Floats:
        """1 Hz, device units; NaN where not measured."""
        if self._waiting_toco:
            _shift(self._toco, _share(*_sums(np.array(self._waiting_toco))))
            self._waiting_toco.clear()
        return self._toco

    def judge(self) -> None:
        """Judge the heart rate up to now; at least every 60 s."""
        new_s = round(self.now_s - self.judged_s)
        if new_s == 0:
            return
        self.judged_s = self.now_s
        _shift(self._raw, np.array(self._waiting_fhr))
        self._waiting_fhr.clear()
        n = (_UNSETTLED_S + new_s) * SLOT_HZ
        raw = self._raw[-n - _CONTEXT_S * SLOT_HZ :]
        reason = validity.judge(raw)[-n:]
        fhr_bpm = np.where(reason == validity.Reason.GOOD, raw[-n:], np.nan)
        _rewrite(self.reason, reason, new_s * SLOT_HZ)
        _rewrite(self.fhr_bpm, fhr_bpm, new_s * SLOT_HZ)
        total, count = _sums(fhr_bpm)
        _rewrite(self.fhr_1hz, _share(total, count), new_s)
        total, count = (x.reshape(-1, _BIN_SECONDS).sum(axis=1) for x in (total, count))
        _rewrite(self.mean_bpm, _share(total, count), new_s // _BIN_SECONDS)
        _rewrite(self.valid_share, count / (_BIN_SECONDS * SLOT_HZ), new_s // _BIN_SECONDS)


def _shift(window: NDArray[np.generic], new: NDArray[np.generic]) -> None:
    window[: -new.size] = window[new.size :]
    window[-new.size :] = new


def _rewrite(window: NDArray[np.generic], tail: NDArray[np.generic], new: int) -> None:
    """Move a window on by *new* values, and write its end anew."""
    window[:-new] = window[new:]
    window[-tail.size :] = tail


def _sums(values: Floats) -> tuple[Floats, Floats]:
    """Return the sum and the number of the finite values of each second."""
    rows = values.reshape(-1, SLOT_HZ)
    known = np.isfinite(rows)
    if not known.all():
        rows = np.where(known, rows, 0.0)
    return rows.sum(axis=1), known.sum(axis=1, dtype=float)


def _share(total: Floats, count: Floats) -> Floats:
    """Return means; NaN where there is nothing."""
    shares = np.full(total.size, np.nan)
    np.divide(total, count, out=shares, where=count > 0)
    return shares
