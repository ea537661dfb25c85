"""The texts people see, and what may never be in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit import errors
from ctgkit.errors import (
    ConfigError,
    MissingExtra,
    RecordingError,
    ScenarioError,
    StoreError,
    Unreachable,
    WireError,
    excerpt,
)


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (WireError("range", "seq", "too big", "9"), "seq: too big: 9", 1),
        (WireError("json", "frame", "invalid JSON"), "frame: invalid JSON", 1),
        (StoreError("x.db", "locked"), "database x.db: locked", 4),
        (RecordingError("a.csv", 3, "no number"), "a.csv, line 3: no number", 4),
        (RecordingError("a.csv", 0, "empty"), "a.csv: empty", 4),
        (ScenarioError("s", "fhr.baseline", "too low"), "scenario s, fhr.baseline: too low", 4),
        (ScenarioError("s", "", "not found"), "scenario s: not found", 4),
        (ConfigError("ctgkit.toml", "unknown key"), "ctgkit.toml: unknown key", 4),
        (Unreachable("ws://x", "refused"), "ws://x: refused", 3),
        (MissingExtra("a", "b", "c"), "a needs b: pip install 'ctgkit[c]'", 2),
    ],
)
def test_texts_and_exit_codes(error, text, code):
    """Each error says what and where in one line, and carries the exit code of README.md."""
    assert str(error) == text
    assert error.exit_code == code


def test_the_tree_in_the_docstring_is_the_tree():
    """Every error is listed at the top of the file."""
    for name, thing in vars(errors).items():
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert f"- {name} " in errors.__doc__


@given(st.binary() | st.text())
def test_excerpts_are_short_and_harmless(data):
    """No control character, no more than 80 characters, whatever a peer sends."""
    shown = excerpt(data)
    assert len(shown) <= 80
    assert shown.isprintable()
