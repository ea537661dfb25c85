"""What a viewer has seen, told to whoever waits in vain."""

import re

import pytest

from ctgkit.testing import seen
from ctgkit.testing.seen import Message, Seen

SENSOR = "3f2a91c0-0000-4000-8000-000000000001"


def text(sec, status="ok"):
    return f'{{"sensorID": "{SENSOR.upper()}", "secFromStart": {sec}, "status": "{status}"}}'


def test_an_empty_report_says_so():
    """And since when."""
    assert Seen(3.0).report(5.0) == "no message came since the viewer connected 2.0 s ago"


def test_a_report_counts_and_shows_the_last_messages():
    """How many, since when, about what; long ones are cut."""
    messages = Seen(0.0)
    for n in range(20):
        messages.add(Message.of(n / 10, text(n, "critical" if n == 9 else "ok")))
    messages.add(Message.of(2.0, "x" * 1000))
    first, counts, last, *shown = messages.report(4.0).splitlines()
    assert first == "21 messages came since the viewer connected 4.0 s ago, the last one 2.0 s ago"
    assert counts == f"status: 19 x ok, 1 x critical, 1 x none; sensors: 20 x {SENSOR}, 1 x none"
    assert (last, len(shown)) == ("the last 5:", 5)
    assert '"secFromStart": 19' in shown[3]
    assert re.fullmatch(r'  "x{200,}…', shown[4])
    messages.forget(4.0)
    assert messages.report(5.5) == "no message came since forget() was called 1.5 s ago"


def test_only_so_many_are_kept(monkeypatch):
    """The oldest go; positions stay true."""
    monkeypatch.setattr(seen, "KEPT_MAX", 10)
    messages = Seen(0.0)
    for n in range(25):
        messages.add(Message.of(0.0, str(n)))
    assert len(messages.contents) <= 10
    assert messages.contents[-1] == 24
    assert messages.after(22) == [22, 23, 24]
    assert messages.after(0) == messages.contents
    assert messages.report(0.0).startswith("25 messages")


@pytest.mark.parametrize("frame", ["[", "[]", b"\xff", "7", '{"sensorID": 7}'])
def test_anything_can_be_seen(frame):
    """A broken backend's messages too."""
    assert Message.of(0.0, frame).sensor_id is None
