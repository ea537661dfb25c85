"""TOML of any kind, where it is read: a document, or one line with the file and the place."""

import contextlib
import itertools
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit import toml
from ctgkit.config import read_config
from ctgkit.errors import ConfigError, ScenarioError
from ctgkit.mlstub.script import Rule, parse_script
from ctgkit.profile.model import parse_profile
from ctgkit.simulate.knobs import CHOICES, KNOBS
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.scenario import META

READERS = {
    "scenario": lambda path: load_scenario(str(path)),
    "configuration": read_config,
    "script": lambda path: parse_script(toml.read_text(path), str(path)),
}
BROKEN = {
    "deep lists": b"a = " + b"[" * 100_000,
    "deep tables": b"a = " + b"{a = " * 20_000,
    "deeper than any of ours": b"a = " + b"[" * 20 + b"]" * 20,
    "a key of many parts": b".".join([b"a"] * 200_000) + b" = 1",
    "a header of many parts": b"[" + b"'a'. " * 100_000 + b"a]",
    "an integer of 5000 digits": b"a = " + b"9" * 5000,
    "a hexadecimal of 5000 digits": b"a = 0x" + b"f" * 5000,
    "more than 64 bits": b"a = 9223372036854775808",
    "nan": b"a = nan",
    "infinity": b"[a]\nb = [1, { c = -inf }]",
    "no UTF-8": b'a = "\xff"',
    "UTF-16": "a = 1".encode("utf-16"),
    "NUL": b"a = 1\x00",
    "a date that doesn't exist": b"a = 2026-02-30",
    "a surrogate": b'a = "\\ud800"',
    "the same key twice": b"a = 1\na = 2",
    "binary": bytes(range(256)),
    "8 MB": b"#" * (8 << 20),
    "a million tables": b"[[a]]\n" * 1_000_000,
}


def outcome(read, path):
    """Return the refusal of a document as a line; None when it is fine. Nothing else is raised."""
    try:
        read(path)
    except (ConfigError, ScenarioError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_is_no_document_is_named(tmp_path, read, text):
    """Soon, on one line, with the file."""
    path = tmp_path / "x.toml"
    path.write_bytes(text)
    said = outcome(read, path)
    assert said is not None
    assert "x.toml" in said
    assert len(said) < 400


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    """Editors on Windows write one."""
    path = tmp_path / "x.toml"
    path.write_bytes("\ufeff[meta]\ntitle = 'x'\n".encode())
    assert load_scenario(str(path)).title == "x"


WRONG = ["5", "-1", "1e300", "true", "''", "'rubbish'", "[]", "['a']", "[[]]", "{}", "{a = 1}",
         "[{}]", "[{a = {}}]", "1979-05-27", "07:32:00", "{p50 = 'x'}", "{p50 = {}}"]  # fmt: skip
TOP = {
    "scenario": ["meta", "at", "fault", "mix", "fhr", "nonsense"],
    "configuration": ["sensors", "viewer_token", "serve", "nonsense"],
    "script": ["rule", "seed", "disconnect_after", "nonsense"],
}
INNER = {
    "scenario": [
        *(f"[meta]\n{key} = " for key in META),
        *(f"[{path.replace('.', ']' + chr(10))} = " for path in (*list(KNOBS)[:3], *CHOICES)),
        *(
            f"[[at]]\nt = 5\n{key} = "
            for key in ("ramp", "chance", "set", "scale", "force", "phase")
        ),
        *(f"[[at]]\nt = 5\nforce.{key} = " for key in ("event", "size", "duration")),
        "[[at]]\nt = ",
        "[[at]]\nt = 5\nset.'fhr.baseline_bpm' = ",
        *(f"[[fault]]\nkind = 'drop'\n{key} = " for key in ("at", "from", "to", "rate", "copies")),
        "[[fault]]\nkind = ",
        "[mix]\nsinusoidal = ",
    ],
    "configuration": [
        *(f"[[sensors]]\nid = '{'0' * 32}'\n{key} = " for key in ("token", "bed", "control")),
        "[[sensors]]\nid = ",
    ],
    "script": [
        *(f"[[rule]]\n{field.name} = " for field in msgspec.structs.fields(Rule)),
        *(f"[[rule]]\nprediction.{key} = " for key in ("hypoxia_probability", "alerts")),
    ],
}


@pytest.mark.parametrize("kind", READERS)
def test_a_value_of_a_wrong_kind_is_named(tmp_path, kind):
    """Wherever one may stand: taken where it means something, or else one short line."""
    path = tmp_path / "x.toml"
    starts = [*(f"{key} = " for key in TOP[kind]), *INNER[kind]]
    refused = 0
    for start, value in itertools.product(starts, WRONG):
        path.write_text(start + value)
        said = outcome(READERS[kind], path)
        if said is not None:
            refused += 1
            assert "x.toml" in said or said.startswith("scenario ")  # one that x.toml names
            assert len(said) < 400
    assert refused > 0.7 * len(starts) * len(WRONG)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"a": "[meta]\nextends = 'a.toml'"}, "meta.extends: extends itself"),
        ({"a": "[meta]\nextends = 'b.toml'", "b": "[meta]\nextends = 'a.toml'"}, "extends itself"),
        ({"a": "[mix]\n'a.toml' = 1"}, "mixes itself"),
        ({"a": "[mix]\n'b.toml' = 1", "b": "[mix]\n'a.toml' = 1"}, "is itself a mix"),
        ({"a": "[mix]\nsinusoidal = 0"}, "more than 0"),
        (
            {"a": "[meta]\nextends = 'b.toml'", "b": "at = 5"},
            "b.toml, at: expected [[at]]",
        ),
        ({"a": "[meta]\nextends = 'b.toml'", "b": "meta = 5"}, "b.toml, meta: expected a table"),
        ({"a": "[meta]\nextends = ['b.toml']"}, "meta.extends: expected a string"),
        ({"a": '[meta]\nextends = "a\\u0000.toml"'}, "cannot be read"),
        ({"a": "[meta]\nextends = '.toml'"}, "cannot be read: No such file"),
        ({"a": f"[meta]\nextends = '{'x' * 5000}.toml'"}, "cannot be read: File name too long"),
        ({"a": "[meta]\nextends = '/.toml/x.toml'"}, "cannot be read"),
    ],
)
def test_scenarios_that_lead_nowhere(tmp_path, texts, said):
    """Or in a circle."""
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    shown = outcome(READERS["scenario"], tmp_path / "a.toml")
    assert shown is not None
    assert said in shown


KEYS = st.sampled_from([*itertools.chain(*TOP.values()), "id", "t"])
values = st.recursive(
    st.one_of(
        st.integers(), st.floats(), st.booleans(), st.text(max_size=9), st.dates(), st.times()
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)


def written(value):
    """Return a value as TOML; a writer of our own, which knows nothing of the reader."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return re.sub(r"^(-?\d+)(e|$)", r"\1.0\2", repr(value))
        case str():
            return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
        case list():
            return f"[{', '.join(map(written, value))}]"
        case dict():
            return f"{{{', '.join(f'{written(k)} = {written(v)}' for k, v in value.items())}}}"
    return str(value)


@given(st.dictionaries(KEYS, values, max_size=3))
def test_any_document_is_read_or_refused_on_a_line(document):
    """Hypothesis finds no other end."""
    text = "".join(f"{written(key)} = {written(value)}\n" for key, value in document.items())
    for read in (toml.parse, parse_script):
        with contextlib.suppress(ConfigError):
            read(text, "x.toml")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[channel.fhr]\nname = 'a'\n[channel.toco]\nscal = 2", "channel.toco: unknown key 'scal'"),
        ("[channel.toco]\ndigits = 10\n[channel.fhr]\ndigits = 11", "channel.toco.digits: "),
        ("[[setup]]\nurl = 'x'\n[[setup]]\nurl = 'x'\nheaders = {a = '1', b.c = 2}",
         "setup[1].headers.b: expected"),
        ("[files.'a.b']\nname = 'n'", "files.a.b: line is missing"),
        ("[headers]\n" + "\n".join(f"h{n} = ''" for n in range(20_000)) + "\nlast = 1",
         "headers.last: expected"),
    ],
)  # fmt: skip
def test_a_key_of_the_users_own_is_named(text, place):
    """Not ``channel[...]``; also the last of many, soon."""
    with pytest.raises(ConfigError) as refused:
        parse_profile("url = 'ws://a'\n" + text, "mine.toml")
    assert str(refused.value).startswith(f"mine.toml, {place}")
