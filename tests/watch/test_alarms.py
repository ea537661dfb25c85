"""Alarms wait for their delay, latch, and leave only after somebody acknowledged them."""

import pytest

from ctgkit.watch.alarms import Alarms


def played(*stretches, alarms=None, start_s=0.0, rate_hz=4):
    """Play (seconds, heart rate) stretches into alarms."""
    alarms = alarms or Alarms()
    t_s = start_s
    for seconds, fhr_bpm in stretches:
        for _ in range(int(seconds * rate_hz)):
            alarms.judge(t_s, fhr_bpm, critical=False)
            t_s += 1 / rate_hz
    return alarms


def kinds(alarms):
    return [alarm.kind for alarm in alarms.open]


@pytest.mark.parametrize(
    ("fhr_bpm", "seconds", "expected"),
    [
        (105, 29, []),
        (105, 31, ["fhr_low"]),
        (110, 60, []),
        (160, 60, []),
        (165, 31, ["fhr_high"]),
        (None, 59, []),
        (None, 61, ["signal_loss"]),
    ],
)
def test_raised_after_the_delay(fhr_bpm, seconds, expected):
    """The limits themselves are normal; beyond them it takes the delay."""
    assert kinds(played((10, 140), (seconds, fhr_bpm))) == expected


def test_a_normal_sample_starts_the_delay_again():
    """Twice 20 s below the limit are no 30 s."""
    assert kinds(played((20, 100), (0.25, 140), (20, 100))) == []


def test_signal_loss_starts_the_delay_again():
    """What was before a gap says nothing about now."""
    assert kinds(played((20, 100), (5, None), (20, 100))) == []


def test_a_short_dropout_does_not():
    """A second without signal interrupts nothing."""
    assert kinds(played((20, 100), (1, None), (12, 100))) == ["fhr_low"]


def test_missing_time_is_signal_loss():
    """A sensor that comes back after a minute was lost for a minute."""
    alarms = played((5, 140))
    alarms.judge(100.0, 140, critical=False)
    (alarm,) = alarms.open
    assert (alarm.kind, alarm.active) == ("signal_loss", False)
    assert alarm.since_s == pytest.approx(4.75)


def test_latches_until_acknowledged():
    """When the heart rate is normal again the alarm stays, says so, and goes when acknowledged."""
    alarms = played((40, 100), (60, 140))
    (alarm,) = alarms.open
    assert not alarm.active
    alarms.acknowledge()
    assert alarms.raised == {}


def test_acknowledged_while_it_lasts():
    """An acknowledged alarm is quiet but seen, goes with its condition, and a new one is loud."""
    alarms = played((40, 100))
    alarms.acknowledge()
    assert alarms.open == []
    assert list(alarms.raised) == ["fhr_low"]
    played((1, 140), alarms=alarms, start_s=40)
    assert alarms.raised == {}
    played((31, 100), alarms=alarms, start_s=41)
    assert kinds(alarms) == ["fhr_low"]


def test_critical_at_once_and_first():
    """The analyzer's word needs no delay and stands before the others."""
    alarms = played((40, 100))
    alarms.judge(40.0, 100, critical=True)
    assert kinds(alarms) == ["critical", "fhr_low"]


def test_a_repeated_past_raises_nothing():
    """Backfill after a reconnect doesn't bring an acknowledged alarm back."""
    alarms = played((40, 100), (20, 140))
    alarms.acknowledge()
    played((40, 100), (25, 140), alarms=alarms)
    assert kinds(alarms) == []


def test_a_new_trace_keeps_what_is_latched():
    """Restarting a sensor acknowledges nothing, and conditions begin anew."""
    alarms = played((40, 100))
    alarms.restart()
    assert [a.active for a in alarms.open] == [False]
    played((5, 140), alarms=alarms)
    assert kinds(alarms) == ["fhr_low"]
