"""What a profile may say, what it makes of samples, and what it reads of replies."""

import json
import re
import textwrap
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.errors import ConfigError, WireError
from ctgkit.profile.batches import batches, beside
from ctgkit.profile.model import Channel, Profile, Reply, moved, parse_profile
from ctgkit.profile.render import Renderer
from ctgkit.profile.reply import pointed, read_reply
from ctgkit.profile.session import Beside, Session
from ctgkit.samples import Sample
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

values = st.none() | st.floats(20, 300)
samples = st.lists(
    st.builds(Sample, st.just("s"), st.floats(0, 1e6), values, values, values), min_size=1,
    max_size=8,
)  # fmt: skip
texts = st.text(max_size=20)


def rendered(text, given, session=None):
    session = session or Session("s", 1e9)
    return Renderer(parse_profile(text, "p.toml"), "p.toml").render(given, session)


@given(samples)
def test_a_tree_gives_back_what_went_in(given):
    text = 'url = "http://h/"\n[body]\nt = "{t}"\nv = ["{fhr}", "{toco}", "{spasms}"]\nn = "{seq}"'
    got = [json.loads(one.body) for one in rendered(text, given)]
    want = [
        {"t": s.sec_from_start, "v": [s.fhr_bpm, s.uterus, s.spasms], "n": n}
        for n, s in enumerate(given)
    ]
    assert got == want


@given(samples, st.sampled_from(["skip", "null", -1, "NaN"]))
def test_gaps_become_what_the_profile_says(given, gap):
    text = f'url = "http://h/"\ngap = {json.dumps(gap)}\n[body]\nfhr = "{{fhr}}"'
    for sample, one in zip(given, rendered(text, given), strict=True):
        body = json.loads(one.body)
        if sample.fhr_bpm is not None:
            assert body == {"fhr": sample.fhr_bpm}
        else:
            assert body == {"skip": {}, "null": {"fhr": None}}.get(gap, {"fhr": gap})


@given(texts)
def test_what_is_captured_cannot_change_where_it_goes(captured):
    text = (
        'url = "http://host/a/{session}/b?x={session}"\n[[setup]]\nurl = "http://host/"\n'
        'capture = { session = "/s" }\n[body]\nt = "{t}"'
    )
    (one,) = rendered(
        text, [Sample("s", 0.0, None, None, None)], Session("s", 0.0, {"session": captured})
    )
    assert one.url.startswith("http://host/a/")
    assert one.url.count("/") == 5
    assert one.url.count("?") == 1


@given(st.binary(max_size=200), st.integers(100, 599))
def test_any_reply_is_read_or_refused_in_one_line(body, status):
    rule = Reply(probability="/p", alerts="/a", skip=(422,))
    try:
        said = read_reply(status, body, rule)
    except WireError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert said is None or 0 <= said.prediction.hypoxia_probability <= 1
    assert "\n" not in refusal


@given(
    st.recursive(
        st.none() | st.integers() | texts,
        lambda v: st.lists(v) | st.dictionaries(texts, v),
        max_leaves=12,
    )
)
def test_pointers_find_what_is_there(document):
    def places(value, path=""):
        yield path, value
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, inner in items:
                step = str(key).replace("~", "~0").replace("/", "~1")
                yield from places(inner, f"{path}/{step}")

    for path, value in places(document):
        assert pointed(document, path) == value


@pytest.mark.parametrize(
    ("rule", "body", "p"),
    [
        (Reply(probability="/hypoxia/proba"), {"hypoxia": {"proba": 0.25, "pred": 0}}, 0.25),
        (Reply(probability="/probability", scale=100), {"probability": 70, "risk": "high"}, 0.7),
        (Reply(level="/0/class", levels={"2": 0.9}), [{"class": 2}], 0.9),
    ],
)
def test_replies_of_several_shapes(rule, body, p):
    assert read_reply(200, json.dumps(body).encode(), rule).prediction.hypoxia_probability == p


def test_lists_of_ranges_are_events():
    rule = (
        Reply.__struct_fields__
        and parse_profile(
            'url = "http://h/"\n[body]\nt = "{t}"\n[reply]\nprobability = "/p"\nevents = "/r"\n'
            'event = { start = "/0", end = "/1", kind = "=deceleration" }',
            "p",
        ).reply
    )
    said = read_reply(200, b'{"p": 0.5, "r": [[10, 40.5]]}', rule)
    assert said.events == ({"type": "deceleration", "start_s": 10.0, "end_s": 40.5},)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>", "no JSON"),
        (200, b"{}", "nothing at '/p'"),
        (200, b'{"p": "high"}', "not a number"),
        (200, b'{"p": 1.5}', "not a probability"),
        (200, b'{"p": true}', "not a number"),
        (302, b"", "redirect"),
        (500, b"oops", "status 500"),
    ],
)
def test_bad_replies_say_what_is_wrong(status, body, reason):
    with pytest.raises(WireError, match=reason):
        read_reply(status, body, Reply(probability="/p"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "url"),
        ('url = "ftp://h/"\ntext = ""', "url"),
        ('url = "http://h/"', "exactly one of body, text and files"),
        ('url = "http://h/"\n[body]\nx = "{fhrr}"', r"body\.x: unknown variable \{fhrr\}"),
        ('url = "http://h/"\n[body]\nx = "{fhr[]}"', r"unknown variable \{fhr\[\]\}"),
        ('url = "http://h/{nope}"\n[body]\nx = 1', r"url: unknown variable \{nope\}"),
        ('url = "http://h/"\ntext = "{t!r}"', "not supported"),
        ('url = "http://h/"\ntext = "{t"', "text:"),
        ('url = "http://h/"\ntext = "{t.real}"', r"unknown variable \{t\.real\}"),
        ('url = "http://h/"\ntext = "x"\nper = "batch"', "cannot hold a batch"),
        ('url = "http://h/"\ntext = "x"\n[headers]\nX-Token = "abc"', r"headers\.X-Token"),
        ('url = "http://h/"\ntext = "x"\n[secrets]\na = {}', r"secrets\.a"),
        ('url = "http://h/"\ntext = "x"\n[channel.foo]', r"channel\.foo"),
        ('url = "http://h/"\ntext = "x"\n[reply]', "probability"),
        ('url = "http://h/"\ntext = "x"\n[reply]\nprobability = "p"', "must begin with /"),
        ('url = "http://h/"\ntext = "x"\nbatch_s = 0', "batch_s"),
        (
            'url = "http://h/"\ntext = "x"\n[[setup]]\nurl = "http://h/"\ncapture = { a = "b" }',
            r"setup\[0\]\.capture\.a: 'b' is not a JSON pointer",
        ),
        ('url = "http://h/"\ntext = "x"\nnope = 1', "nope"),
        ("x = " + "[" * 5000, "p.toml"),
        ("x = " + "9" * 5000, "p.toml"),
    ],
)
def test_a_bad_profile_says_where(text, place):
    with pytest.raises(ConfigError, match=place) as raised:
        Renderer(parse_profile(text, "p.toml"), "p.toml")
    assert "\n" not in str(raised.value)


def test_a_format_that_does_not_fit_says_where():
    with pytest.raises(ConfigError, match=r"text: \{id:\.2f\}"):
        rendered(
            'url = "ws://h/"\ntext = "{seq:s}{id:.2f}"'.replace("{seq:s}", ""),
            [Sample("s", 0.0, None, None, None)],
        )


DOCUMENT = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()


@pytest.mark.parametrize(
    "block", re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL), ids=lambda b: b.split()[2]
)
def test_profiles_of_the_document_are_profiles(block):
    parsed = parse_profile(textwrap.dedent(block), "docs/profiles.md")
    Renderer(parsed, "docs/profiles.md")


def test_a_profile_moves_with_its_setup():
    text = (
        'url = "ws://a:1/x/{s}"\ntext = "{t}"\n[[setup]]\nurl = "http://a:1/login"\n'
        'capture = { s = "/s" }\n[[setup]]\nurl = "http://b/other"\n'
    )
    there = moved(parse_profile(text, "p"), "wss://c:2", "p")
    assert there.url == "wss://c:2/x/{s}"
    assert [one.url for one in there.setup] == ["https://c:2/login", "http://b/other"]
    assert moved(there, "d/y", "p").url == "wss://d/y"


@given(st.floats(0, 2e9), st.floats(0, 1e6))
def test_clock_times_agree(start_s, second):
    text = 'url = "http://h/"\n[body]\niso = "{iso}"\nms = "{epoch_ms}"'
    given = [Sample("s", second + n / 4, None, None, None) for n in range(8)]
    for one in rendered(text, given, Session("s", start_s)):
        body = json.loads(one.body)
        ms = datetime.fromisoformat(body["iso"]).timestamp() * 1000
        assert round(ms) == pytest.approx(body["ms"], abs=1)


names = ("fhr", "toco", "spasms", "t", "t_ms", "epoch_s", "epoch_ms", "iso", "id", "seq", "signal")
leaves = (
    st.sampled_from([f"{{{name}}}" for name in names])
    | st.sampled_from(["bed-{id}", "{t:.2f} s", "{{}}", "x", ""])
    | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
)  # fmt: skip


def trees(leaves):
    return st.dictionaries(
        st.text(max_size=5),
        st.recursive(leaves, lambda t: st.lists(t) | st.dictionaries(texts, t), max_leaves=8),
        max_size=6,
    )  # fmt: skip


@given(
    samples, trees(leaves), trees(leaves | st.sampled_from(["{samples}", "{fhr[]}", "{iso[]}"])),
    st.sampled_from(["null", "skip", -1, "lost"]), st.sampled_from(["sample", "channel", "batch"]),
    st.sampled_from(["", '\n[headers]\nX-At = "{iso}"', "\n[channel.fhr]\nscale = 0.5"]),
)  # fmt: skip
def test_one_pass_of_the_encoder_writes_what_the_plain_way_does(given, tree, batch, gap, per, more):
    """The same bytes, addresses and headers, or the same complaint, from any tree."""
    profile = parse_profile(f'url = "http://h/{{seq}}"\n[body]\nt = "{{t}}"{more}', "p.toml")
    body, url = (batch, profile.url) if per == "batch" else (tree, "http://h/")
    changes = {"body": body, "sample": tree, "gap": gap, "per": per, "url": url}
    profile = msgspec.structs.replace(profile, **changes)

    def made(*, structs):
        try:
            renderer = Renderer(profile, "p.toml", structs=structs)
            return renderer.render(given, Session("s", 1e9))
        except ConfigError as error:
            return str(error)

    assert made(structs=True) == made(structs=False)


def test_what_only_a_simulated_sensor_knows_may_be_sent_too():
    """The mother's rate and the signal's quality are those of the truth."""
    body = {"fhr": "{fhr}", "mhr": "{mother}", "sq": "{quality}"}
    renderer = Renderer(Profile(url="ws://a", body=body), "here")
    assert renderer.looks_beside
    source = Sensor(load_scenario("poor-signal"), 3)
    session, seen = Session("id", 0.0), []
    for batch in batches(source, renderer.profile, "id", 300.0):
        session.beside = beside(source, batch)
        (one,) = renderer.render(batch, session)
        seen.append(json.loads(one.body))
    truth = Sensor(load_scenario("poor-signal"), 3).render(0, len(seen)).truth
    assert [m["mhr"] for m in seen] == [round(x * 4) / 4 for x in truth.mother_bpm.tolist()]
    assert {m["sq"] for m in seen} >= {0, 2}
    assert all((m["sq"] == 0) == (m["fhr"] is None) for m in seen)
    session.beside = {}
    (one,) = renderer.render([Sample("id", 1.0, 140.0, 1.0, 0.0)], session)
    assert json.loads(one.body) == {"fhr": 140.0, "mhr": None, "sq": 2}


def test_the_second_fetus_is_scaled_and_left_out_as_the_first():
    """In a member, a text and a list; where a sample has no second rate it is a gap."""
    known = {0.0: Beside(80.0, 2, 120.25), 0.25: Beside(80.0, 2)}
    samples = [Sample("id", sec, 140.0, 1.0, 0.0) for sec in known]
    body = {"a": "{fhr}", "b": "{fhr2}", "c": "2nd {fhr2:.1f}"}

    def made(**rest):
        rule = {"fhr": Channel(scale=10, digits=0)}
        renderer = Renderer(Profile(url="ws://a", channel=rule, **rest), "here")
        assert renderer.names_second
        session = Session("id", 0.0, beside=known)
        return [json.loads(one.body) for one in renderer.render(samples, session)]

    first, second = made(body=body, gap="skip")
    assert first == {"a": 1400, "b": 1202, "c": "2nd 1202.0"}
    assert second == {"a": 1400}
    assert made(per="batch", gap=0, body={"b": "{fhr2[]}"}) == [{"b": [1202, 0]}]
