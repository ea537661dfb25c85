"""Names that scripts use: each option of 0.1 still means the same, wherever it is written."""

import csv
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ctgkit.cli.main import COMMANDS, cli
from ctgkit.cli.options import Option
from tests.cli.test_values import EVERY

OLD = [
    row
    for row in csv.reader(Path(__file__).with_name("names_0_1.csv").read_text().split("\n"))
    if row
]
"""Command, the name of its parameter (which files and variables used), its options."""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.mark.parametrize("row", OLD, ids=" ".join)
def test_old_names_are_known(row):
    """On the command line, and to files and the environment."""
    path, key, *names = row
    command = EVERY[tuple(path.split())]
    meant = {
        param.name
        for param in command.params
        for name in names
        if name in (*param.opts, *param.secondary_opts)
    }
    assert len(meant) == 1
    (param,) = (each for each in command.params if each.name in meant)
    keys = set(param.keys()) if isinstance(param, Option) else {param.name}
    assert key in keys


HIDDEN = {
    ("sensor",): ("--id", "--sensor-id", "0d1d0a3e-0000-4000-8000-000000000001"),
    ("bench",): ("--id", "--sensor-id", "0d1d0a3e-0000-4000-8000-000000000001"),
    ("watch",): ("--token-file", "--viewer-token-file", "ctgkit.toml"),
    ("demo",): ("--db", "--store", "x.db"),
}


def settings(path, *arguments, **environment):
    """Return what a command's callback would get."""
    root = click.Context(cli, info_name="ctgkit", auto_envvar_prefix="CTGKIT")
    needed = ["http://127.0.0.1:9"] if path == ("bench",) else []
    with EVERY[path].make_context(path[0], [*needed, *arguments], parent=root) as context:
        return context.params


@pytest.mark.parametrize("path", HIDDEN)
def test_an_old_name_means_the_new_one(path, monkeypatch, tmp_path):
    """As an argument, a variable and a key; `--help` shows the new one only."""
    old, new, value = HIDDEN[path]
    Path("ctgkit.toml").write_text("")
    plain = settings(path)
    in_url = f"sqlite:///{value}" if new == "--store" else value
    wanted = settings(path, new, in_url)
    assert wanted != plain
    assert settings(path, old, value) == wanted
    for name in (old, new):
        with monkeypatch.context() as patched:
            patched.setenv(f"CTGKIT_{path[0]}_{name[2:]}".upper().replace("-", "_"), value)
            assert settings(path) == wanted
        Path("ctgkit.toml").write_text(f"[{path[0]}]\n{name[2:]} = {json.dumps(value)}\n")
        assert settings(path) == wanted
        Path("ctgkit.toml").write_text("")
    shown = CliRunner().invoke(cli, [*path, "--help"]).output
    assert f"{new} " in shown
    assert f"{old} " not in shown


def test_options_are_found_by_their_long_name(monkeypatch):
    """As documented, also where the parameter's name is another one."""
    Path("ctgkit.toml").write_text(
        "[watch]\nbackfill = '2min'\nsensor = 'ab'\n[serve]\njson = true\n"
    )
    assert settings(("watch",))["backfill_s"] == 120
    assert settings(("watch",))["sensors"] == ("ab",)
    monkeypatch.setenv("CTGKIT_WATCH_BACKFILL", "60")
    assert settings(("watch",))["backfill_s"] == 60
    monkeypatch.setenv("CTGKIT_WATCH_BACKFILL_S", "61")
    assert settings(("watch",))["backfill_s"] == 60
    monkeypatch.delenv("CTGKIT_WATCH_BACKFILL")
    assert settings(("watch",))["backfill_s"] == 61
    assert settings(("serve",))["as_json"] is True


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_option_has_help_and_a_unit(path):
    """No bare INTEGER, FLOAT or TEXT; and nothing without a word of explanation."""
    context = click.Context(EVERY[path])
    bare = [
        param.opts[0]
        for param in EVERY[path].params
        if isinstance(param, click.Option)
        and not param.is_flag
        and param.name != "verbosity"
        and param.make_metavar(context) in ("TEXT", "INTEGER", "FLOAT", "PATH")
    ]
    silent = [p.opts[0] for p in EVERY[path].params if isinstance(p, click.Option) and not p.help]
    assert (bare, silent) == ([], [])


def test_usual_options_come_first():
    """`--help` begins with them; the general ones are last, and each command is in one section."""
    for path in EVERY:
        shown = CliRunner().invoke(cli, [*path, "--help"]).output
        assert shown.index("--help") > shown.rindex("--config")
        assert 'default: ""' not in shown
    shown = CliRunner().invoke(cli, ["--help"]).output
    for name in COMMANDS:
        assert sum(line.startswith(f"  {name} ") for line in shown.splitlines()) == 1
