"""Blocks: every value comes back as it was, and what is damaged is refused."""

import math
import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctgkit import blocks
from ctgkit.blocks import VERSION, pack, unpack

INTS = st.integers(-(2**63), 2**63 - 1)
DECIMALS = st.integers(-(10**6), 10**6).map(lambda n: n / 100)
FLOATS = st.floats(allow_nan=False) | DECIMALS  # SQLite stores NaN as NULL
TIMES = st.datetimes().map(lambda t: t.isoformat(timespec="milliseconds") + "Z")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
DOUBLES = st.lists(st.floats() | DECIMALS, max_size=4).map(lambda d: struct.pack(f"<{len(d)}d", *d))
NONE = st.none()
VALUES = [
    INTS, FLOATS, FLOATS | NONE, DECIMALS | NONE, TIMES, TEXTS, TIMES | TEXTS, DOUBLES | NONE,
    st.binary(max_size=20),
    INTS | FLOATS | TEXTS | NONE, NONE, st.just("same"),
]  # fmt: skip


def told(columns):
    """Return what tells -0.0 from 0.0, 1 from 1.0 and one NaN from another."""
    return [[(type(v), struct.pack("d", v) if type(v) is float else v) for v in c] for c in columns]


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 30))
    kinds = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=6))
    return [draw(st.lists(kind, min_size=rows, max_size=rows)) for kind in kinds]


@given(tables())
@example([[-0.0, 0.0, 5e-324, math.inf]])
@example([[1, 1.0, "1", None]])
@example([["2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000+00:00"]])
@example([["2026-01-01T00:00:00.0004Z"], ["0001-01-01T00:00:00.000Z"]])
@example([[None, None], [b"", None]])
def test_all_values_come_back(columns):
    """Whatever SQLite hands out, by value and by type."""
    assert told(unpack(pack(columns))) == told(columns)


@given(tables(), st.data())
def test_damage_is_refused(columns, data):
    """A byte that is another one, or an end that is missing."""
    block = pack(columns)
    at = data.draw(st.integers(0, len(block) - 1))
    wrong = data.draw(st.integers(1, 255))
    for damaged in (block[:at], block[:at] + bytes([block[at] ^ wrong]) + block[at + 1 :]):
        try:
            found = unpack(damaged)
        except ValueError:
            continue
        assert told(found) == told(columns)  # a bit of the header that means nothing


@pytest.mark.parametrize(
    "said",
    [b"[", b"7", b'[1,["what",1]]', b'[2,["plain",[1]]]', b'[1,["ints",["x"]]]', b'[1,["ints"]]',
     b'[1,["decimals",0,["x"]]]', b'[1,["doubles",[3],["plain",[1]]]]', b'[1,["times",[1e99]]]',
     b'[9e9,["same",1]]', b'[1000000000000,["same",1]]', b'[1,["bytes",["zz"]]]',
     b'[1,["doubles",[1000000000000],["same",1.0]]]', b'[1,5]', b'{"a":1}'],
)  # fmt: skip
def test_what_says_nonsense_is_refused(said):
    """A block of somebody else's making."""
    with pytest.raises(ValueError, match="packed block"):
        unpack(VERSION + zlib.compress(said))


@pytest.mark.parametrize("block", [None, "text", b"", b"\x02abc", VERSION, VERSION + b"x" * 40])
def test_what_is_no_block_is_refused(block):
    with pytest.raises(ValueError, match="packed block"):
        unpack(block)


def test_a_bomb_does_not_unfold(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_MAX_BYTES", 1000)
    assert unpack(pack([["x" * 900]])) == [["x" * 900]]
    with pytest.raises(ValueError, match="damaged"):
        unpack(pack([["x" * 1000]]))


@pytest.mark.parametrize("column", [[b"bytes", 1], ["\ud800"]])
def test_what_cannot_be_in_one_is_said(column):
    with pytest.raises((TypeError, ValueError)):
        pack([column])
