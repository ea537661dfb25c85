"""`ctgkit paper`: files that measure what they should, and say what they must."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.display import COLOURS, DISCLAIMER
from ctgkit.drawing import load_matplotlib
from ctgkit.errors import ConfigError, CtgkitError, RecordingError
from tests.extras import need
from tests.server.parties import SENSORS, acked, backend_on, message, ml_service, result, sensor

need("matplotlib")

PT_PER_CM = 72 / 2.54
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True, scope="module")
def _matplotlib():
    load_matplotlib("this test")  # not with whatever is set up around us


@pytest.fixture(autouse=True)
def _no_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def recording(tmp_path):
    """Ten minutes at 140, without signal from 2:00 to 4:00."""
    path = tmp_path / "r.csv"
    rows = [f"{n / 4},{0 if 480 <= n < 960 else 140},10" for n in range(2400)]
    path.write_text("sec,bpm,uc\n" + "\n".join(rows) + "\n")
    return path


def run(*arguments):
    """Run the command; errors of ours come out as they are."""
    asked = ["paper", *map(str, arguments)]
    return CliRunner().invoke(cli, asked, standalone_mode=False, catch_exceptions=False).output


def texts_of(svg):
    """Texts of a picture: matplotlib writes each as a comment beside its glyphs."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", svg.read_text("utf-8")))


def lines_of(svg, name):
    """Start and end of the lines of a kind, in points from the upper left corner."""
    found = []
    for group in ET.parse(svg).iter(f"{SVG}g"):
        if group.get("id") == name:
            for path in group.iter(f"{SVG}path"):
                numbers = [float(v) for v in re.findall(r"-?[\d.]+", path.get("d"))]
                found.append(np.array(numbers).reshape(-1, 2))
    return found


@pytest.mark.parametrize("speed", [1, 2, 3])
def test_svg_is_to_scale(recording, tmp_path, speed):
    """The size of the picture is in points, and a minute in it is as long as on paper."""
    out = tmp_path / "x.svg"
    run(recording, "--out", out, "--speed-cm-min", speed)
    minutes = sorted({round(line[0, 0], 3) for line in lines_of(out, "minutes")})
    assert len(minutes) == 11
    assert np.diff(minutes) == pytest.approx(speed * PT_PER_CM, abs=0.01)
    (low, high) = (line[0, 1] for line in lines_of(out, "limits"))
    assert low - high == pytest.approx(2.5 * PT_PER_CM, abs=0.01)
    width = ET.parse(out).getroot().get("width")
    assert float(width.removesuffix("pt")) == pytest.approx((2.7 + 10 * speed) * PT_PER_CM)


def test_png_is_to_scale(recording, tmp_path):
    """Pixels per centimetre are those of the resolution, which stands in the file."""
    out = tmp_path / "x.png"
    run(recording, "--out", out, "--dpi", 254, "--speed-cm-min", 3)
    from matplotlib.image import imread

    picture = imread(out)
    per_cm = 100
    assert picture.shape[1] == round((2.7 + 30) * per_cm)
    pixels_per_metre = int.from_bytes(out.read_bytes().split(b"pHYs")[1][:4])
    assert pixels_per_metre == 10_000
    limit = np.array([int(COLOURS["limit"].light[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    rows = np.flatnonzero((np.abs(picture[:, 1600, :3] - limit) < 0.02).all(axis=1))
    assert rows[-1] - rows[0] == pytest.approx(2.5 * per_cm, abs=4)


def test_pdf_is_a4_and_to_scale(recording, tmp_path):
    """Ten minutes at 3 cm/min are two sheets of A4; a minute on them is 3 cm."""
    out = tmp_path / "x.pdf"
    assert "2 sheets" in run(recording, "--out", out, "--speed-cm-min", 3)
    content = out.read_bytes().decode("latin-1")
    boxes = re.findall(r"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
    assert len(boxes) == 2
    assert [float(v) for v in boxes[0]] == pytest.approx([29.7 * PT_PER_CM, 21 * PT_PER_CM])
    streams = re.findall(rb"/FlateDecode >>\nstream\n(.*?)\nendstream", out.read_bytes(), re.DOTALL)
    drawn = b"\n".join(map(zlib.decompress, streams)).decode("latin-1")
    uprights = re.findall(r"^([\d.]+) [\d.]+ m\n\1 [\d.]+ l$", drawn, re.MULTILINE)
    places = {round(float(x), 2) for x in uprights}  # glyphs have some, too
    assert {round((1.5 + n / 2) * PT_PER_CM, 2) for n in range(55)} <= places


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_input_gives_the_same_file(recording, tmp_path, kind):
    """No dates, no random names."""
    for name in ("a", "b"):
        run(recording, "--out", tmp_path / f"{name}.{kind}")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


RC = {
    "styled": "savefig.bbox: tight\nlines.linewidth: 6\nsavefig.facecolor: black\n"
    "text.usetex: True\nfont.size: 40\npdf.fonttype: 42\nsvg.fonttype: none\n",
    "nonsense": "backend: nonsense\n!! what is this\nfigure.dpi: many\n\xff\n",
}


@pytest.mark.parametrize("rc", RC.values(), ids=RC)
def test_the_users_matplotlib_changes_nothing(recording, tmp_path, rc):
    """Neither a notebook's backend nor a file of settings, wherever matplotlib looks for one."""
    outs = [tmp_path / f"x.{kind}" for kind in ("pdf", "svg", "png")]
    for out in outs:
        run(recording, "--out", out)
    expected = [out.read_bytes() for out in outs]
    for place in (here := tmp_path, named := tmp_path / "named", home := tmp_path / "home"):
        place.mkdir(exist_ok=True)
        (place / "matplotlibrc").write_bytes(rc.encode("latin-1"))
    ambient = {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": str(named),
        "MPLCONFIGDIR": str(home),
    }
    code = (
        "import sys, ctgkit.cli.main as m\n"
        "for out in sys.argv[2:]: m.cli.main(['paper', sys.argv[1], '--out', out],"
        " standalone_mode=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, recording, *outs],
        cwd=here,
        env=os.environ | ambient,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [out.read_bytes() for out in outs] == expected


def test_settings_of_the_caller_change_nothing_and_stay(recording, tmp_path):
    """As in a notebook, where matplotlib is in use already."""
    import matplotlib

    out = tmp_path / "x.pdf"
    run(recording, "--out", out)
    expected = out.read_bytes()
    mine = {"savefig.bbox": "tight", "axes.facecolor": "red", "font.family": ["monospace"]}
    with matplotlib.rc_context(mine):
        run(recording, "--out", out)
        assert {name: matplotlib.rcParams[name] for name in mine} == mine
    assert out.read_bytes() == expected


def test_a_gap_stays_a_gap(recording, tmp_path):
    """The trace is drawn in two strokes that end and begin where the signal does."""
    out = tmp_path / "x.svg"
    run(recording, "--out", out)
    before, after = sorted(lines_of(out, "fhr"), key=lambda line: line[0, 0])
    assert before[-1, 0] == pytest.approx((1.5 + 119.75 / 60) * PT_PER_CM, abs=0.01)
    assert after[0, 0] == pytest.approx((1.5 + 4) * PT_PER_CM, abs=0.01)


def test_margins_warn_and_name_nobody(recording, tmp_path):
    """The file's name, which may name a patient, is nowhere; simulated data are called so."""
    named = recording.rename(tmp_path / "Doe-Jane.csv")
    out = tmp_path / "x.svg"
    run(named, "--out", out)
    assert f"{DISCLAIMER} · not for clinical use" in texts_of(out)
    assert "SIMULATED" not in texts_of(out)
    assert "Doe" not in out.read_text("utf-8")
    run(named, "--out", out, "--simulated")
    assert "SIMULATED DATA" in texts_of(out)


ANALYSIS = {
    "note": "simulated analysis",
    "guideline": {"level": "suspicious"},
    "events": [
        {"type": "deceleration", "subtype": "late", "start_s": 60, "end_s": 110, "size": 20},
        {"type": "baseline", "start_s": 0, "end_s": 600},
    ],
}
TRUTH = [
    {"simulated": True, "scenario": "x"},
    {"kind": "deceleration", "subtype": "late", "onset_s": 60, "end_s": 110, "id": "d1"},
    {"kind": "loss", "onset_s": 120, "end_s": 240},
]


def as_result(**more):
    return {"sensorID": "a", "secFromStart": 1, "data": {}} | more


RESULTS = [as_result(), as_result(events=[TRUTH[1] | {"end_s": 90}]), as_result(events=[TRUTH[1]])]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps(ANALYSIS, indent=1), "class suspicious"),
        ("\n".join(map(json.dumps, TRUTH)), "SIMULATED"),
        ("\n".join(map(json.dumps, RESULTS)), DISCLAIMER),
    ],
    ids=["analyze", "truth", "results"],
)
def test_events_are_marked(recording, tmp_path, text, says):
    """From an analysis, a truth, or results, whose last version counts."""
    events, out = tmp_path / "events", tmp_path / "x.svg"
    events.write_text(text)
    run(recording, "--out", out, "--events", events)
    bracket, *ends = lines_of(out, "deceleration")
    assert bracket[1, 0] - bracket[0, 0] == pytest.approx(50 / 60 * PT_PER_CM, abs=0.01)
    assert len(ends) == 2
    assert "▼L" in texts_of(out)
    assert says in texts_of(out)


def test_what_others_say_is_text(recording, tmp_path):
    """No markup, and no more than a line of it."""
    events, out = tmp_path / "events", tmp_path / "x.svg"
    events.write_text(json.dumps({"figo": {"class": "$\\frac$ \n" + 500 * "x"}, "events": []}))
    run(recording, "--out", out, "--events", events)
    assert "class $\\frac$" in texts_of(out)
    assert "x" * 100 not in texts_of(out)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nonsense", 1),
        ('{"kind": "loss"}\n[]', 2),
        ('{"events": 5}', 1),
        ('{"events": [5]}', 1),
        ('{"kind": "acceleration", "onset_s": "x", "end_s": 1}', 1),
    ],
)
def test_bad_events_are_named(recording, tmp_path, text, line):
    """With the file and the line."""
    events = tmp_path / "events"
    events.write_text(text)
    with pytest.raises(RecordingError) as caught:
        run(recording, "--out", tmp_path / "x.svg", "--events", events)
    assert (caught.value.path, caught.value.line) == (str(events), line)


async def test_an_exported_examination_is_printed(tmp_path):
    """With what the ML service said of it; of several sensors one must be chosen."""

    def answer(request):
        return [result(request, events=[TRUTH[1]], figo={"class": "normal"})]

    store = tmp_path / "ctg.db"
    async with ml_service(answer) as url, backend_on(store, ml_url=url) as backend:
        await backend.ml_connected()
        async with sensor(backend) as one, sensor(backend, 1) as other:
            for n in range(1, 401):
                await one.send(message(n))
                await other.send(message(n, fhr=100))
            await acked(one, 400)
            await acked(other, 400)
    exported, out = tmp_path / "e.json", tmp_path / "x.svg"
    asked = ["exam", "export", "1", "--store", f"sqlite:///{store}", "--out", str(exported)]
    assert CliRunner().invoke(cli, asked).exit_code == 0
    with pytest.raises(RecordingError, match="choose one sensor") as caught:
        run(exported, "--out", out)
    assert SENSORS[1].id in str(caught.value)
    run(exported, "--out", out, "--sensor", SENSORS[1].id)
    (trace,) = lines_of(out, "fhr")
    assert trace[-1, 0] - trace[0, 0] == pytest.approx(99.75 / 60 * PT_PER_CM, abs=0.01)
    assert "class normal" in texts_of(out)
    assert "▼L" in texts_of(out)


def test_a_strip_may_be_cut(recording, tmp_path):
    """--from and --to choose the minutes."""
    out = tmp_path / "x.svg"
    run(recording, "--out", out, "--from", 301, "--to", 359)
    assert "0:05 to 0:06" in texts_of(out)
    with pytest.raises(ConfigError, match="no samples in that interval"):
        run(recording, "--out", out, "--from", 900)


def test_a_strip_that_is_too_long_is_refused(tmp_path):
    """With advice."""
    path = tmp_path / "long.csv"
    path.write_text("sec,bpm\n0,140\n90000,140\n")
    for more in (["x.svg"], ["x.png", "--to", 9000, "--dpi", 600]):
        with pytest.raises(ConfigError, match="use PDF"):
            run(path, "--out", *more)


def test_without_matplotlib_it_says_what_to_install(recording, tmp_path, monkeypatch):
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CtgkitError, match=r"ctgkit\[paper\]"):
        run(recording, "--out", tmp_path / "x.svg")


@pytest.mark.parametrize("out", ["x.doc", "nowhere/x.svg", "nowhere/x.pdf"])
def test_bad_targets_are_named(recording, tmp_path, out):
    """Before or when they are written."""
    with pytest.raises((CtgkitError, click.BadParameter), match=Path(out).name):
        run(recording, "--out", tmp_path / out)


def test_hostile_text_stays_text(tmp_path, recording):
    """A class with markup, mathematics and control characters in it is drawn, not obeyed."""
    hostile = "-->]]></style><script>alert(1)</script>$\\frac$\x1b[31m"
    (tmp_path / "marks.json").write_text(json.dumps({"figo": {"class": hostile}, "events": []}))
    run(recording, "--out", tmp_path / "p.svg", "--events", tmp_path / "marks.json")
    picture = tmp_path / "p.svg"
    assert "alert(1)" in texts_of(picture)
    names = {str(element.tag) for element in ET.parse(picture).iter()}
    assert f"{SVG}path" in names
    assert f"{SVG}script" not in names
    assert "\x1b" not in picture.read_text("utf-8")


def analysed(tmp_path, recording):
    asked = ["analyze", str(recording), "--json"]
    path = tmp_path / "found.json"
    path.write_text(CliRunner().invoke(cli, asked, catch_exceptions=False).stdout)
    return path


def test_the_baseline_is_drawn_where_it_is(recording, tmp_path):
    """At 140, from the middle of the first minute to that of the last one."""
    out = tmp_path / "x.svg"
    run(recording, "--events", analysed(tmp_path, recording), "--baseline", "--out", out)
    drawn = np.vstack(lines_of(out, "baseline"))
    (low, high) = (line[0, 1] for line in lines_of(out, "limits"))  # 110 and 160
    assert drawn[:, 1] == pytest.approx(low + (high - low) * 30 / 50, abs=0.5)
    assert np.ptp(drawn[:, 0]) == pytest.approx(9 * PT_PER_CM, abs=0.5)


def test_the_area_of_an_event_lies_between_heart_rate_and_baseline(tmp_path):
    path, out = tmp_path / "fall.csv", tmp_path / "x.svg"
    rates = [100 if 1200 <= n < 1440 else 140 for n in range(4800)]
    path.write_text("sec,bpm,uc\n" + "".join(f"{n / 4},{bpm},10\n" for n, bpm in enumerate(rates)))
    run(path, "--events", analysed(tmp_path, path), "--baseline", "--out", out)
    (outline,) = lines_of(out, "area dec-1")
    (low, high) = (line[0, 1] for line in lines_of(out, "limits"))
    assert np.ptp(outline[:, 1]) == pytest.approx((low - high) * 40 / 50, abs=1.5)
    run(path, "--events", analysed(tmp_path, path), "--out", out)
    assert lines_of(out, "area dec-1") == lines_of(out, "baseline") == []


def test_a_baseline_of_which_nothing_is_said_is_refused(recording, tmp_path):
    with pytest.raises(ConfigError, match="--baseline: nothing is said of one"):
        run(recording, "--baseline", "--out", tmp_path / "x.svg")


def test_a_simulations_truth_has_a_baseline_too(recording, tmp_path):
    truth, out = tmp_path / "truth.jsonl", tmp_path / "x.svg"
    event = {"kind": "baseline", "id": "b0", "onset_s": 0, "end_s": 600, "size": 140}
    more = {**event, "id": "b1", "onset_s": 600, "end_s": 1200, "size": 150}
    truth.write_text(json.dumps(event) + "\n" + json.dumps(more) + "\n")
    run(recording, "--events", truth, "--baseline", "--out", out)
    assert len(lines_of(out, "baseline")) == 1


def test_the_page_is_used(recording, tmp_path):
    """At 1 cm/min two rows stand on an upright A4; a bar of 5 cm is 5 cm on paper."""
    rows = "".join(f"{n / 4},140,10\n" for n in range(75 * 240))
    (tmp_path / "long.csv").write_text("sec,bpm,uterus\n" + rows)
    out = tmp_path / "x.pdf"
    assert "3 sheets" in run(tmp_path / "long.csv", "--out", out)
    boxes = re.findall(r"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", out.read_bytes().decode("latin-1"))
    assert [float(v) for v in boxes[0]] == pytest.approx([21 * PT_PER_CM, 29.7 * PT_PER_CM])
    run(tmp_path / "long.csv", "--out", tmp_path / "x.svg")
    bar = lines_of(tmp_path / "x.svg", "scale")[0]
    assert abs(bar[1, 0] - bar[0, 0]) == pytest.approx(5 * PT_PER_CM, abs=0.01)
    assert "5 cm, 5 min" in texts_of(tmp_path / "x.svg")


def test_minutes_are_heavier_than_the_rest_of_the_grid(recording, tmp_path):
    """A minute is what people count."""
    run(recording, "--out", tmp_path / "x.svg")
    widths = {}
    for group in ET.parse(tmp_path / "x.svg").iter(f"{SVG}g"):
        if group.get("id") in ("fine", "minutes", "values"):
            found = re.findall(r"stroke-width: ([\d.]+)", ET.tostring(group).decode())
            widths[group.get("id")] = max(map(float, found))
    assert widths["minutes"] > 1.5 * widths["values"] > 1.5 * widths["fine"]


def test_whose_trace_it_is(tmp_path):
    """Sensor, examination and beginning, where the file knows them."""
    samples = [
        {"uuid": "0c7f1e4a-5b8d-4f52-9b39-6f5d8e1a7c23", "sec_from_start": n / 4, "bpm": 140.0,
         "uterus": 9.0, "spasms": 0.0} for n in range(400)
    ]  # fmt: skip
    document = {"examination": {"id": 12}, "samples": samples, "results": []}
    (tmp_path / "exam.json").write_text(json.dumps(document))
    run(tmp_path / "exam.json", "--out", tmp_path / "x.svg")
    said = texts_of(tmp_path / "x.svg")
    assert "sensor 0c7f1e4a-5b8d-4f52-9b39-6f5d8e1a7c23 · examination 12" in said
