"""Alarms that latch until somebody acknowledges them. This module performs no I/O."""

from dataclasses import dataclass, field

from ctgkit.display import ALARMS, NORMAL_BAND_BPM, AlarmKind
from ctgkit.samples import GAP_S


@dataclass(slots=True, kw_only=True)
class Alarm:
    """One alarm on display."""

    kind: AlarmKind
    since_s: float
    """Data time at which its condition began, seconds."""
    active: bool = True
    """Whether the condition still holds."""
    acknowledged: bool = False

    @property
    def text(self) -> str:
        """What it says."""
        return ALARMS[self.kind].text


@dataclass(slots=True)
class Alarms:
    """The alarms of one sensor."""

    raised: dict[AlarmKind, Alarm] = field(default_factory=dict)
    _begun_s: dict[AlarmKind, float] = field(default_factory=dict)
    _last_s: float | None = None
    _signal_s: float | None = None

    def judge(self, t_s: float, fhr_bpm: float | None, *, critical: bool) -> None:
        """Take in one sample; data time that is missing counts as no signal.

        A sample not later than the last one was judged before: nobody is told again what he has
        acknowledged when a backend repeats the past.

        Parameters
        ----------
        t_s : float
            Data time, seconds.
        fhr_bpm : float or None
            Heart rate, beats/min; ``None`` without signal.
        critical : bool
            Whether the analyzer's status is critical.
        """
        if self._last_s is not None and t_s <= self._last_s:
            return
        last_s = t_s if self._last_s is None else self._last_s
        signal_s = last_s if self._signal_s is None else self._signal_s
        if t_s - last_s > GAP_S:
            self._hold("signal_loss", t_s, since_s=signal_s)
        if fhr_bpm is None:
            self._hold("signal_loss", t_s, since_s=signal_s)
        else:
            self._release("signal_loss")
            self._signal_s = t_s
        if t_s - signal_s > GAP_S:  # what came before a gap says nothing about now
            self._release("fhr_low", "fhr_high")
        if fhr_bpm is not None:
            self._set("fhr_low", fhr_bpm < NORMAL_BAND_BPM[0], t_s)
            self._set("fhr_high", fhr_bpm > NORMAL_BAND_BPM[1], t_s)
        self._set("critical", critical, t_s)
        self._last_s = t_s

    def restart(self) -> None:
        """Begin a new trace: conditions end, latched alarms stay."""
        self._release(*ALARMS)
        self._last_s = self._signal_s = None

    def acknowledge(self) -> None:
        """Silence all alarms: those that are over vanish, the others when they are."""
        for kind, alarm in list(self.raised.items()):
            alarm.acknowledged = True
            if not alarm.active:
                del self.raised[kind]

    @property
    def open(self) -> list[Alarm]:
        """Alarms nobody acknowledged, the most serious first."""
        return [a for k in ALARMS if (a := self.raised.get(k)) and not a.acknowledged]

    def _set(self, kind: AlarmKind, holds: bool, t_s: float) -> None:
        if holds:
            self._hold(kind, t_s, since_s=t_s)
        else:
            self._release(kind)

    def _hold(self, kind: AlarmKind, t_s: float, *, since_s: float) -> None:
        begun_s = self._begun_s.setdefault(kind, since_s)
        if t_s - begun_s >= ALARMS[kind].delay_s:
            alarm = self.raised.setdefault(kind, Alarm(kind=kind, since_s=begun_s))
            alarm.active = True

    def _release(self, *kinds: AlarmKind) -> None:
        for kind in kinds:
            self._begun_s.pop(kind, None)
            if alarm := self.raised.get(kind):
                alarm.active = False
                if alarm.acknowledged:
                    del self.raised[kind]
