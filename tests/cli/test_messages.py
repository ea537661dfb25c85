"""What commands say when something is wrong: what it is, and where the value came from.

Each row of the table is a message that misled somebody once.
"""

import gzip
import json
import re
import shutil
import socket
import subprocess
import sys

import pytest

from ctgkit.cli.main import COMMANDS
from tests.extras import need

SECONDS = 60.0
"""How long a command may take here; what ends by itself ends sooner."""


@pytest.fixture
def ctgkit(forks, monkeypatch):
    """Run a command line in the folder of the forks; return its exit code and what it said."""

    def run(*argv, env=(), stdin=None):
        done = forks(list(argv), env, SECONDS, stdin)
        assert "Traceback" not in done["err"] + done["out"]
        assert "[Errno" not in done["err"]
        return done["code"], done["out"], done["err"].splitlines()[-1] if done["err"] else ""

    monkeypatch.chdir(forks.home)
    (forks.home / "ctgkit.toml").unlink(missing_ok=True)
    yield run
    (forks.home / "ctgkit.toml").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        ("watch nofile.csv", 4, "nofile.csv: No such file or directory"),
        ("watch ./nofile", 4, "nofile: No such file or directory"),
        ("inspect nofile.csv", 4, "nofile.csv: No such file or directory"),
        ("record --url in.csv --out r.jsonl", 2, "'in.csv' is a file's name, not ws://HOST:PORT"),
        ("bench in.csv", 2, "'in.csv' is a file's name"),
        ("score --ml in.csv", 2, "'in.csv' is a file's name"),
        ("wach", 2, "No such command 'wach'; did you mean 'watch'?"),
        ("exam lst", 2, "No such command 'lst'. Did you mean 'list'?"),
        ("help exam lst", 2, "ctgkit exam has no command 'lst'; did you mean 'list'?"),
        ("config show srve", 2, "there is no command 'srve'; did you mean 'serve'?"),
        ("-q serve", 2, "the options of a command go after its name"),
        ("serve --prt 1", 2, "No such option '--prt'. Did you mean '--port'?"),
        ("generate --out x.csv --scenario late-decel-severe", 4, "mean 'late-decels-severe'?"),
        ("sensor --fault dropp:rate=1", 2, "did you mean 'drop'?"),
        ("generate --duration 1h30 --out x.csv", 2, "not a time in seconds, or one such as 20min"),
        ("generate --duration 30m1h --out x.csv", 2, "not a time in seconds"),
        ("generate --seed 1.5 --out x.csv", 2, "'1.5' is not a whole number"),
        ("analyze in.csv --out ev.edf", 2, "ev.edf"),
        ("generate --out x.csv --truth t.csv", 2, "JSON lines goes into .jsonl or .json, not .csv"),
        ("generate --out x.csv --truth t.jsonl.gz", 2, "not .gz"),
        ("proxy --listen :0 --to ws://[::1]:9 --out f.csv", 2, "not .csv"),
        ("check ml ws://127.0.0.1:9 --junit r.html", 2, "JUnit XML goes into .xml, not .html"),
        ("record --out r.csv", 2, "expected .jsonl or .jsonl.gz"),
        ("init --config /nowhere/c.toml", 4, "/nowhere/c.toml: No such file or directory"),
        ("exam list --store sqlite:////proc/none.db", 4, "/proc/none.db"),
        ("serve --port 0 --tls-cert in.csv", 4, "in.csv"),
    ],
)  # fmt: skip
def test_the_table_of_messages(ctgkit, line, code, text):
    """One line that says what is wrong, with one exit code."""
    ended, _, said = ctgkit(*line.split())
    assert text in said
    assert ended == code


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_two_letters_swapped_is_recognised(ctgkit, name):
    """Whatever the command."""
    _, _, said = ctgkit(name[0] + name[2] + name[1] + name[3:] if len(name) > 3 else name + "x")
    assert f"did you mean '{name}'?" in said


@pytest.mark.parametrize(
    ("line", "env", "file", "text"),
    [
        ("serve --port x", {}, "", "Invalid value for '--port': "),
        ("serve", {"CTGKIT_SERVE_PORT": "x"}, "", "'--port' (from $CTGKIT_SERVE_PORT)"),
        ("serve", {}, "[serve]\nport = 'x'", "ctgkit.toml, serve.port: "),
        ("generate --out x.csv", {"CTGKIT_GENERATE_SCENARIO": "nope"}, "",
         "scenario nope: no such scenario (--scenario from $CTGKIT_GENERATE_SCENARIO)"),
        ("generate --out x.csv", {}, "[generate]\nscenario = 'nope'",
         "(--scenario from ctgkit.toml [generate])"),
        ("sensor", {"CTGKIT_SENSOR_ID": "x"}, "", "'--sensor-id' (from $CTGKIT_SENSOR_ID)"),
        ("analyze nofile.csv", {}, "[analyze]\nlag = 60", "nofile.csv: No such file or directory"),
        ("serve", {}, "[serv]\nport = 1", "ctgkit.toml: unknown section [serv]; did you mean"),
        ("serve", {}, "[serve]\nprot = 1", "serve.prot: unknown key; did you mean 'port'?"),
        ("serve", {}, "viewer_tokn = 'x'", "did you mean 'viewer_token'"),
    ],
)  # fmt: skip
def test_where_a_wrong_value_came_from(forks, ctgkit, line, env, file, text):
    """The command line, a variable by its name, or the file by its name and section."""
    if file:
        (forks.home / "ctgkit.toml").write_text(file)
    code, _, said = ctgkit(*line.split(), env=env)
    assert text in said
    assert code in (2, 4)
    assert ("from" in said) == ("(from" in text or " from " in text)


@pytest.mark.parametrize(
    "line",
    [
        "serve --port {}",
        "ml --port {}",
        "record --listen 127.0.0.1:{} --to ws://127.0.0.1:9 --out r.jsonl",
        "proxy --listen 127.0.0.1:{} --to ws://127.0.0.1:9",
        "replay in.jsonl --serve 127.0.0.1:{}",
        "sensor --sensor-id 00000000-0000-4000-8000-000000000000 --control 127.0.0.1:{}",
        "check backend ws://127.0.0.1:{0} --ml-listen 127.0.0.1:{0} --sensor-id"
        " 00000000-0000-4000-8000-000000000000",
        "bench ws://127.0.0.1:{0} --any-id --sensors 1 --ml-listen 127.0.0.1:{0}",
    ],
)
def test_a_port_in_use(ctgkit, line):
    """The same words and the same code whoever wants it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = {"CTGKIT_SENSOR_TOKEN": "token"}
        code, _, said = ctgkit(*line.format(port).split(), env=env)
    if line.startswith("replay"):
        assert "no viewer stream in it" in said  # looked at first
    else:
        assert f"127.0.0.1:{port}: cannot listen: the port is already in use" in said
    assert code == 4


@pytest.mark.parametrize(
    ("library", "line", "extra"),
    [
        ("matplotlib", ["paper", "in.csv", "--out", "x.pdf"], "paper"),
        ("matplotlib", ["bench", "ws://127.0.0.1:9", "--plot", "x.png"], "paper"),
        ("edfio", ["convert", "in.csv", "x.edf"], "edf"),
        ("pyarrow", ["convert", "in.csv", "x.parquet"], "parquet"),
        ("hypothesis", ["check", "backend", "ws://127.0.0.1:9", "--fuzz", "1"], "testing"),
    ],
)
@pytest.mark.slow
def test_a_missing_extra(tmp_path, library, line, extra):
    """The same words and the same code whichever it is."""
    (tmp_path / "in.csv").write_text("sec,bpm\n" + "".join(f"{n},140\n" for n in range(60)))
    program = (
        f"import sys; sys.modules[{library!r}] = None;"
        "from importlib import util; spec = util.find_spec;"
        f"util.find_spec = lambda name, *a: None if name == {library!r} else spec(name, *a);"
        f"from ctgkit.cli.main import main; sys.argv = ['ctgkit', *{line!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert f"pip install 'ctgkit[{extra}]'" in done.stderr
    assert done.returncode == 2


@pytest.mark.slow
def test_inspect_without_any_extra(tmp_path):
    """It says of which formats it can't tell what they would lose; that is no failure."""
    (tmp_path / "in.csv").write_text("sec,bpm\n" + "".join(f"{n},140\n" for n in range(60)))
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('pyarrow', 'edfio', 'wfdb')));"
        "from ctgkit.cli.main import main; sys.argv = ['ctgkit', 'inspect', 'in.csv']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "parquet: not tried, pip install 'ctgkit[parquet]' brings it" in done.stdout


@pytest.mark.parametrize("text", ["1h30m", "90min", "5400", "5400s", "1.5h", "1h 30min 0s"])
def test_a_duration_in_every_spelling(forks, ctgkit, text):
    """The same hour and a half."""
    out = f"d{len(text)}.csv"
    code, said, _ = ctgkit(
        "generate", "--duration", text, "--rate", "0.1", "--out", out, "--json", "--seed", "-3"
    )
    assert code == 0
    assert json.loads(said)["duration_s"] == 5400
    assert json.loads(said)["seed"] == -3


def test_gzip_is_told_by_content(forks, ctgkit):
    """Not by the name: packed files without .gz, plain ones with it, truth too."""
    home = forks.home
    plain = (home / "in.csv").read_bytes()
    (home / "packed.csv").write_bytes(gzip.compress(plain))
    (home / "plain.csv.gz").write_bytes(plain)
    (home / "nothing").write_bytes(gzip.compress(plain))
    native = (home / "in.jsonl").read_bytes()
    (home / "packed.jsonl").write_bytes(gzip.compress(native))
    for name in ("packed.csv", "plain.csv.gz", "nothing", "packed.jsonl"):
        code, said, _ = ctgkit("inspect", name, "--json")
        assert code == 0, name
        assert json.loads(said)["recordings"][0]["samples"] == 40
    (home / "packed-truth.jsonl").write_bytes(gzip.compress((home / "truth.jsonl").read_bytes()))
    shutil.copy(home / "in.csv", home / "packed-truth.csv")
    code, _, said = ctgkit("score", "packed-truth.jsonl")
    assert code in (0, 1), said


def test_a_wfdb_record_is_named_without_its_extension(ctgkit):
    """As everybody who has WFDB records names them."""
    need("wfdb")
    assert ctgkit("convert", "in.csv", "rec.hea", "--force")[0] == 0
    code, said, _ = ctgkit("inspect", "rec", "--json")
    assert code == 0
    assert json.loads(said)["format"] == "wfdb"
    assert ctgkit("watch", "rec", "--speed", "max", "--plain")[0] == 0


def test_a_dash_is_standard_input_and_output(forks, ctgkit):
    """In a pipe nothing needs a file of its own."""
    home = forks.home
    code, made, _ = ctgkit("generate", "--duration", "2min", "--out", "-")
    assert code == 0
    assert made.startswith("sec,")
    assert made.count("\n") == 481
    (home / "piped").write_text(made)
    for command in (["inspect", "-"], ["analyze", "-"], ["watch", "-", "--speed", "max", "--json"]):
        code, said, _ = ctgkit(*command, stdin="piped")
        assert code == 0
        assert said
    code, back, said = ctgkit("convert", "-", "-", stdin="piped")
    assert back.splitlines()[1:] == made.splitlines()[1:]
    assert "480 samples" in said
    code, _, said = ctgkit("generate", "--sensors", "2", "--out", "-")
    assert (code, said) == (2, "Error: --out -: of one sensor, or of all with --one-file")


def test_events_as_csv_and_as_a_table(forks, ctgkit):
    """A file called .csv holds CSV; the table shows the same events."""
    ctgkit("generate", "--scenario", "late-decels-severe", "--duration", "20min", "--out", "l.csv")
    code, said, _ = ctgkit("analyze", "l.csv", "--events", "--out", "ev.csv")
    assert code == 0
    head, *rows = (forks.home / "ev.csv").read_text().splitlines()
    assert head.split(",")[:5] == ["recording", "event", "type", "start_s", "end_s"]
    table = said.partition("\n\n")[2].splitlines()
    assert len(table) == len(rows) + 1 > 5
    assert sum("deceleration" in row for row in rows) == sum("deceleration" in r for r in table)
    assert ctgkit("analyze", "l.csv", "--out", "ev.json")[0] == 0
    events = json.loads((forks.home / "ev.json").read_text())["events"]
    assert [row.split(",")[3] for row in rows] == [str(e["start_s"]) for e in events]


def test_logs_as_json(ctgkit, forks):
    """Every line of stderr is an object, the last one too."""
    for arguments, env in (
        (["--log-format", "json"], {}),
        ([], {"CTGKIT_LOG_FORMAT": "json"}),
    ):
        done = forks(["watch", "in.csv", "--speed", "max", *arguments], env, SECONDS)
        lines = [json.loads(line) for line in done["err"].splitlines()]
        assert len(lines) > 1
        assert all({"time", "level", "message"} <= line.keys() for line in lines)
        assert not re.search(r"^\{", done["out"])
    code, _, said = ctgkit(
        "generate", "--out", "x.csv", "--scenario", "nope", env={"CTGKIT_LOG_FORMAT": "json"}
    )
    assert json.loads(said)["message"].startswith("ctgkit: scenario nope: ")
    assert code == 4
