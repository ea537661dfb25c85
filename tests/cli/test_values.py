"""Every option of every command, given what it cannot mean: one line and exit 2 (or 4), never more.

Options come from click itself, so a new one is tried as well. Values go in on the command line, as
an environment variable and in ctgkit.toml. What is accepted is then really run.
"""

import json
import math
import os
import re
from itertools import islice

import click
import pytest

from ctgkit.cli.main import cli
from ctgkit.errors import ConfigError

VALUES = {
    "nan": "nan",
    "inf": "inf",
    "-inf": "-inf",
    "-1": "-1",
    "0": "0",
    "1e18": "1e18",
    "1e400": "1e400",
    "huge": "9" * 5000,
    "big": "9" * 30,
    "empty": "",
    "blank": " ",
    "rubbish": "rubbish!",
    "arabic": "\u0663",
    "underscore": "1_0",
    "port": "99999",
    "open bracket": "ws://[::1",
    "long": "x" * 5000,
    "control": "a\tb\x1b[31m\n",
    "not utf-8": "\udcff",
    "nowhere": "/proc/nowhere/at/all",
}
ELSEWHERE = ("nan", "-1", "huge", "empty", "rubbish", "control", "not utf-8")
"""Those that are tried in the environment and in the file, too: they go through the same types."""
NUMERIC = re.compile(r"S|HZ|N|X|MS|BPM|PORT|X\|max")
"""Metavars of options whose value is one number."""
SOUND = {"0": 0.0, "1e18": 1e18}
"""Those of the values above that are numbers at all."""


def commands(group, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = dict(commands(cli))
NEEDED = {
    ("bench",): ["http://127.0.0.1:9", "--any-id", "--sensors", "1"],
    ("check", "backend"): ["http://127.0.0.1:9"],
    ("check", "ml"): ["ws://127.0.0.1:9"],
    ("convert",): ["in.csv", "out.jsonl"],
    ("paper",): ["in.csv", "--out", "x.svg"],
    ("analyze",): ["in.csv"],
    ("generate",): ["--out", "x.csv", "--duration", "1"],
    ("record",): ["--url", "http://127.0.0.1:9", "--out", "x.jsonl", "--connect-timeout", "0"],
    ("replay",): ["in.jsonl", "--connect-timeout", "0", "--url", "ws://127.0.0.1:9"],
    ("proxy",): ["--listen", "0", "--to", "127.0.0.1:9", "--duration", "0.1"],
    ("score",): ["truth.jsonl"],
    ("sensor",): ["--url", "ws://127.0.0.1:9", "--connect-timeout", "0"],
    ("serve",): ["--port", "0", "--ml", "none"],
    ("ml",): ["--port", "0"],
    ("demo",): ["--duration", "1", "--no-watch"],
    ("watch",): ["http://127.0.0.1:9", "--plain", "--duration", "0.1"],
    ("exam", "show"): ["1"],
    ("exam", "export"): ["1"],
    ("scenario", "show"): ["sinusoidal"],
    ("scenario", "lint"): ["sinusoidal"],
}
"""What a run needs besides the option that is tried; it ends by itself, or serves."""


def numeric_options():
    for path, command in EVERY.items():
        for param in command.params:
            if (
                isinstance(param, click.Option)
                and not (param.is_flag or param.count)
                and NUMERIC.fullmatch(param.make_metavar(click.Context(click.Command("x"))))
            ):
                yield pytest.param(path, param, id=f"{' '.join(path)} {param.opts[0]}")


def parse(path, command, arguments, file):
    """Have click read a command line, with the environment and the file: nothing runs.

    Returns None when it was taken, else what is wrong with the refusal, or an empty string.
    """
    root = click.Context(cli, info_name="ctgkit", auto_envvar_prefix="CTGKIT")
    parent = root
    for name in path[:-1]:
        group = cli.get_command(root, name)
        parent = click.Context(group, parent=parent, info_name=name)
    try:
        with command.make_context(path[-1], list(arguments), parent=parent):
            return None
    except click.exceptions.Exit:
        return None
    except click.UsageError as refused:
        return "more than a line" * ("\n" in refused.format_message())
    except ConfigError as refused:
        in_file = file is None or refused.where.startswith("ctgkit.toml, ")
        return "" if in_file else f"the place is not named: {refused}"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.mark.parametrize(("path", "param"), list(numeric_options()))
def test_numbers_are_finite_and_bounded(path, param):
    """Whatever a numeric option takes is a finite number within its bounds, in ASCII digits."""
    for name, value in VALUES.items():
        try:
            taken = param.type.convert(value, param, None)
        except click.BadParameter:
            continue
        assert SOUND.get(name, -1) == taken or (name == "port" and taken == 99999), value
        assert math.isfinite(taken)
        assert taken < 1e18


def test_there_are_no_other_numeric_types():
    """click's own know no bounds for nan and infinity, and take digits of any script."""
    bounded = (click.types.IntParamType, click.types.FloatParamType)
    loose = [
        f"{' '.join(path)} {param.opts[0]}"
        for path, command in EVERY.items()
        for param in command.params
        if isinstance(param.type, bounded) and param.name != "verbosity"
    ]
    assert loose == []


def refused(done, how):
    """Say what is wrong with a refusal: one line of error ends what it says."""
    _, said, error = done["err"].rpartition("Error: ")
    if not said or error.count("\n") != 1:
        return f"{how}: {done['code']} {done['err'][-2000:]}"
    return None


def ended(done, how):
    """Say what is wrong with a run that was not refused: nothing but an ordinary end will do."""
    fine = done["code"] in (0, 1, 2, 3, 4, -15) and "Traceback" not in done["err"] + done["out"]
    return None if fine else f"{how}: {done['code']} {done['err'][-2000:]}"


def can_be_in_the_environment(value):
    try:
        return bool(os.fsencode(value))
    except UnicodeEncodeError:  # in an ASCII locale
        return False


def sources(path, param, value):
    """Yield the ways to say it: arguments, environment, configuration file."""
    long = next(name for name in param.opts if name.startswith("--"))
    yield "argument", [f"{long}={value}"], {}, None
    if not param.expose_value:
        return
    name = long.lstrip("-").replace("-", "_")
    if value and can_be_in_the_environment(value):
        variable = f"CTGKIT_{'_'.join(path)}_{name}".upper()
        yield "variable", [], {variable: value}, None
    if "\udcff" not in value and param.name != "config":
        # JSON's strings are TOML's
        yield "file", [], {}, f"[{path[0]}]\n{long.lstrip('-')} = {json.dumps(value)}\n"


def without(arguments, param):
    """Return the arguments without those of an option."""
    kept, skip = [], False
    for each in arguments:
        if skip:
            skip = False
        elif each in param.opts:
            skip = True
        else:
            kept.append(each)
    return kept


def tried(path):
    """Yield (what is tried, whether click takes it, arguments, environment, file)."""
    command = EVERY[path]
    for param in command.params:
        if not isinstance(param, click.Option) or param.is_flag or param.count:
            continue
        for name, value in VALUES.items():
            ways = sources(path, param, value)
            for how, more, env, text in ways if name in ELSEWHERE else islice(ways, 1):
                arguments = [*without(NEEDED.get(path, []), param), *more]
                yield f"{how} {param.opts[0]} {value[:30]!r}", arguments, env, text


def write_config(folder, text):
    path = folder / "ctgkit.toml"
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("path", [pytest.param(p, id=" ".join(p)) for p in EVERY])
def test_what_cannot_be_meant_is_refused_on_one_line(tmp_path, path, monkeypatch):
    """From the command line, the environment and the file; nothing but a refusal is raised."""
    (tmp_path / "in.csv").write_text("sec,bpm\n0,140\n")
    (tmp_path / "truth.jsonl").touch()
    wrong = []
    for shown, arguments, env, text in tried(path):
        write_config(tmp_path, text)
        with monkeypatch.context() as patched:
            for name, value in env.items():
                patched.setenv(name, value)
            said = parse(path, EVERY[path], arguments, text)
        if said:
            wrong.append(f"{shown}: {said}")
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("path", [pytest.param(p, id=" ".join(p)) for p in EVERY])
def test_what_is_taken_works_or_says_why_not(forks, path, monkeypatch):
    """What click takes is really run, each in a process of its own: no traceback, no hang."""
    wrong = []
    monkeypatch.chdir(forks.home)
    for shown, arguments, env, text in tried(path):
        if shown.startswith("argument") and parse(path, EVERY[path], arguments, text) is None:
            write_config(forks.home, text)
            done = forks([*path, *arguments], env)
            wrong.append(ended(done, shown) or (done["code"] == 2 and refused(done, shown)))
    assert [w for w in wrong if w] == []
