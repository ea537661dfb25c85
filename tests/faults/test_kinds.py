"""What each fault makes of a message or a connection."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.faults.fault import Impairment, Message, MessageFault
from ctgkit.faults.members import data_time_s
from ctgkit.faults.schema import KINDS, parse_fault
from ctgkit.samples import SEC_FROM_START_MAX_S
from ctgkit.wire import decode_frame
from tests.server.parties import message

SENSOR = "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d00"
TEXT = message(7, sec=90.0, sensorID=SENSOR).encode()


def made(text, frame=TEXT, u=0.5):
    return [m.frame for m in parse_fault(text).apply(Message(0, 90.0, frame), u)]


def reasons(frame):
    """Return why our backend would reject a frame: its codes."""
    samples, errors = decode_frame(frame, SENSOR)
    assert bool(samples) != bool(errors)
    return [e.code for e in errors]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("corrupt", ["range"]),
        ("corrupt:field=uterus,value=-60", ["range"]),
        ("corrupt:field=time,value=-1", ["range"]),
        ("corrupt:field=fhr,value=150", []),
        ("truncate", ["json"]),
        ("truncate:keep=0", ["json"]),
        ("wrong_type", ["type"]),
        ("wrong_type:field=time", ["type"]),
        ("wrong_type:field=id", ["type"]),
        ("wrong_type:field=seq", ["type"]),
        ("stale_time", []),
        ("wrong_id", ["sensor_id"]),
    ],
)
def test_what_a_backend_says_to_it(text, codes):
    """The codec of our backend sees in the message what the fault promises."""
    (frame,) = made(text)
    assert frame != TEXT
    assert reasons(frame) == codes


def test_members_are_changed_and_nothing_else():
    """A corrupted message differs in one member; flat messages and arrays are reached too."""
    (frame,) = made("corrupt:field=fhr,value=77")
    before, after = json.loads(TEXT), json.loads(frame)
    assert after["data"].pop("BPMChild") == 77
    assert before["data"].pop("BPMChild") == 140.0
    assert after == before
    assert made("corrupt:field=fhr,value=7", b'{"bpmchild":1,"x":[]}') == [b'{"bpmchild":7,"x":[]}']
    assert made("stale_time:by=1", b'[{"secFromStart":2},{"secFromStart":0.5}]') == [
        b'[{"secFromStart":1.0},{"secFromStart":0.0}]'
    ]


@pytest.mark.parametrize("text", ["corrupt", "wrong_type", "stale_time", "wrong_id"])
@pytest.mark.parametrize("frame", [b'{"ack":3}', b"\xff\x00", b"[1,null]", b""])
def test_messages_without_that_member_pass(text, frame):
    """Acknowledgements, garbage: nothing to change."""
    assert made(text, frame) == [frame]


numbers = st.integers(-(10**400), 10**400) | st.floats() | st.booleans() | st.none()
objects = st.dictionaries(st.sampled_from(["secFromStart", "data", "sensorID"]), numbers)


@given(st.binary() | objects.map(lambda o: json.dumps(o).encode()), st.floats(0, 0.999))
def test_no_message_is_too_strange(frame, u):
    """Whatever bytes come, a fault returns messages, and a data time is one."""
    for cls in KINDS.values():
        if issubclass(cls, MessageFault):
            for out in cls().apply(Message(0, 0.0, frame), u):
                assert isinstance(out.frame, bytes)
    assert data_time_s(frame) is None or 0 <= data_time_s(frame) <= SEC_FROM_START_MAX_S


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency:by=0.2,jitter=0.1", Impairment(hold_s=0.25)),
        ("bandwidth:bytes_per_s=500", Impairment(bytes_per_s=500)),
        ("reset", Impairment(breaks="reset")),
        ("half_open:for=60", Impairment(breaks="half_open", break_s=60)),
        ("partition:for=3", Impairment(breaks="partition", break_s=3)),
        ("slow_close:by=2", Impairment(close_hold_s=2)),
        ("handshake_failure", Impairment(refuses=True)),
    ],
)
def test_what_happens_to_the_connection(text, expected):
    assert parse_fault(text).impair(0.5) == expected


def test_impairments_add_up():
    """Holds add, the narrower bandwidth counts."""
    both = Impairment(hold_s=1, bytes_per_s=10).joined(Impairment(hold_s=2, breaks="reset"))
    assert both == Impairment(hold_s=3, bytes_per_s=10, breaks="reset")
