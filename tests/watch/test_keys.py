"""Bytes from a terminal become names of keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.watch.keys import decode_keys


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (b"q", ["q"]),
        (b"\x1b[D\x1bOC", ["left", "right"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F", ["page_up", "page_down", "home", "end"]),
        (b"\t\x1b[Z\r", ["tab", "back_tab", "enter"]),
        (b"\x1b[1;5C\x1b[200~q", ["q"]),
        ("ж".encode(), []),
    ],
)
def test_known_keys(typed, names):
    """Arrows in both modes, paging, and what isn't known is left out."""
    assert decode_keys(typed) == names


@given(st.binary(max_size=64))
def test_any_bytes(typed):
    """Nothing typed or pasted raises or gives an unprintable name."""
    assert all(name.isprintable() for name in decode_keys(typed))
