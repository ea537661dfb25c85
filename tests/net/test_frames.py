"""Frames built in one pass, against the library that would build and parse them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from ctgkit.net.frames import MASKS_AT_ONCE, masked_text_frame, text_frame

TEXTS = st.binary(max_size=200) | st.sampled_from([125, 126, 65_535, 65_536]).map(bytes)


def parsed(data, *, masked):
    """Return what the library reads of a frame, all of it."""
    reader = StreamReader()
    reader.feed_data(data)
    parser = Frame.parse(reader.read_exact, mask=masked)
    with pytest.raises(StopIteration) as over:
        next(parser)
    assert not reader.buffer
    return over.value.value


@given(TEXTS)
def test_a_servers(text):
    assert text_frame(text) == Frame(Opcode.TEXT, text).serialize(mask=False)


@given(TEXTS)
def test_a_clients(text):
    assert parsed(masked_text_frame(text), masked=True) == Frame(Opcode.TEXT, text)


def test_each_has_a_mask_of_its_own():
    """Nobody who chooses a text can choose the bytes on the wire (RFC 6455, 10.3)."""
    count = 3 * MASKS_AT_ONCE
    assert len({masked_text_frame(b"")[2:] for _ in range(count)}) > count - 10
