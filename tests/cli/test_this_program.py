"""What the program says about itself: configuration, machine, completion, help."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ctgkit import doctor
from ctgkit.cli.main import COMMANDS, cli
from ctgkit.config import find_config
from ctgkit.doctor import examine
from ctgkit.server.command import default_database
from ctgkit.server.exam import database_of
from tests.test_docs import sh_commands


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def said(*argv, code=0, env=None):
    done = CliRunner().invoke(cli, argv, env=env, standalone_mode=False)
    assert (done.return_value or done.exit_code) == code, done.output
    return done.output


def test_every_value_says_where_it_came_from():
    """A variable, the project's file, the default; of one command, or all that are set."""
    Path("ctgkit.toml").write_text("[serve]\nport = 8090\ngrace = 7\n[sensor]\nspeed = 2\n")
    env = {"CTGKIT_SERVE_PORT": "8099"}
    rows = [json.loads(line) for line in said("config", "show", "--json", env=env).splitlines()]
    shown = {(r["command"], r["option"]): (r["value"], r["origin"]) for r in rows}
    assert shown == {
        ("serve", "--port"): (8099, "$CTGKIT_SERVE_PORT"),
        ("serve", "--grace"): (7.0, "ctgkit.toml [serve]"),
        ("sensor", "--speed"): (2.0, "ctgkit.toml [sensor]"),
    }
    text = said("config", "show", "serve")
    assert "configuration: ctgkit.toml (the project's)" in text
    assert "--durability" in text
    every = said("config", "show", "--all", "--json").splitlines()
    assert {json.loads(line)["command"].split()[0] for line in every} == set(COMMANDS)


def test_the_users_file_is_told_from_the_projects(tmp_path):
    """Both may be there: the project's counts."""
    users = tmp_path / "XDG_CONFIG_HOME" / "ctgkit"
    users.mkdir(parents=True)
    (users / "ctgkit.toml").write_text("[ml]\nport = 1\n")
    assert "(the user's)" in said("config", "show")
    assert "ml --port" in said("config", "show")
    Path("ctgkit.toml").write_text("")
    assert "(the project's)" in said("config", "show")
    assert "ml --port" not in said("config", "show")


def test_a_configuration_that_cannot_be_used_is_named():
    """Every wrong value of every command, and no token ever."""
    Path("ctgkit.toml").write_text("viewer_token = 'hidden'\n[serve]\nport = 1\n")
    shown = said("config", "show", code=4, env={"CTGKIT_ML_PORT": "x", "CTGKIT_SENSOR_RATE": "y"})
    assert "ml: Invalid value for '--port' (from $CTGKIT_ML_PORT): 'x'" in shown
    assert "sensor: Invalid value for '--rate' (from $CTGKIT_SENSOR_RATE): 'y'" in shown
    assert "serve --port" in shown
    assert "hidden" not in shown


def test_a_project_has_its_own_database(tmp_path):
    """Beside its ctgkit.toml, for `serve` and `exam` alike; without one it is the user's."""
    users = tmp_path / "XDG_STATE_HOME" / "ctgkit" / "ctgkit.db"
    assert default_database(find_config(None)) == users
    Path("ctgkit.toml").write_text("")
    assert default_database(find_config(None)) == Path("ctgkit.db")
    other = tmp_path / "other"
    other.mkdir()
    (other / "ward.toml").write_text("")
    for look in (default_database, lambda config: database_of(config, None)):
        assert look(find_config(other / "ward.toml")) == other / "ctgkit.db"
    (other / "ward.toml").write_text("[serve]\nstore = 'sqlite:///x.db'\n")
    assert database_of(find_config(other / "ward.toml"), None) == Path("x.db")


def test_the_users_configuration_makes_no_project(tmp_path):
    """Its folder is no place for data."""
    users = tmp_path / "XDG_CONFIG_HOME" / "ctgkit"
    users.mkdir(parents=True)
    (users / "ctgkit.toml").write_text("")
    assert default_database(find_config(None)).parent == tmp_path / "XDG_STATE_HOME" / "ctgkit"


def test_the_doctor_looks_and_changes_nothing(tmp_path, monkeypatch):
    """Versions, extras, ports, permissions, database, clock."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "somebody"})
        found = {one.what: one for one in examine(find_config(None))}
    assert found[f"port {port}"].state == "note"
    assert {"ctgkit", "Python", "SQLite", "configuration", "database", "clock"} <= found.keys()
    assert {"extra paper", "extra wfdb"} <= found.keys()
    assert not any("all" in name or "dev" in name for name in found if name.startswith("extra"))
    assert not (tmp_path / "XDG_STATE_HOME" / "ctgkit" / "ctgkit.db").exists()


def test_the_doctor_finds_what_would_not_work():
    """A database that is none, and tokens that others may read."""
    Path("ctgkit.toml").write_text("viewer_token = 'x'\n")
    Path("ctgkit.toml").chmod(0o644)
    Path("ctgkit.db").write_bytes(b"no database at all" * 100)
    rows = [json.loads(line) for line in said("doctor", "--json", code=1).splitlines()]
    states = {row["what"]: row["state"] for row in rows}
    assert states["database"] == "problem"
    assert states["configuration"] == "note"


@pytest.mark.parametrize(
    ("words", "expected", "absent"),
    [
        ("ctgkit sen", {"sensor"}, {"serve"}),
        ("ctgkit exam e", {"export"}, {"list"}),
        ("ctgkit demo --s", {"--sensors", "--scenario", "--speed", "--store"}, {"--db"}),
        ("ctgkit generate --scenario late-", {"late-decels-severe"}, {"normal-reactive"}),
        ("ctgkit serve --ml-format ", {"nested", "flat", "both"}, set()),
    ],
)
def test_names_are_completed(words, expected, absent):
    """What the shell asks for with the printed script; hidden aliases stay hidden."""
    parts = words.split(" ")
    env = {
        "_CTGKIT_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(parts) - 1),
        "PATH": os.environ["PATH"],
    }
    program = "from ctgkit.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    offered = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert expected <= offered
    assert not absent & offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(shell):
    """Where that shell is there."""
    script = said("completion", shell)
    assert "_CTGKIT_COMPLETE" in script
    if program := shutil.which(shell):
        done = subprocess.run([program, "-n"], input=script, text=True, check=False)
        assert done.returncode == 0


def test_help_is_that_of_the_command():
    """`ctgkit help exam export` and `ctgkit exam export --help` say the same."""
    assert said("help", "exam", "export") == said("exam", "export", "--help")
    assert said("help") == said("--help")


def long_options(path):
    command, context = cli, click.Context(cli)
    for name in path:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(context, name)
        context = click.Context(command, parent=context)
    every = [name for param in command.params for name in (*param.opts, *param.secondary_opts)]
    return {*every, "--help"}


@pytest.mark.parametrize("document", ["README.md", "README.ru.md", *sorted(
    str(path.relative_to(Path(__file__).parents[2]))
    for path in (Path(__file__).parents[2] / "docs").rglob("*.md")
)])  # fmt: skip
def test_documents_show_commands_and_options_that_exist(document):
    """In every block for a shell."""
    for words in sh_commands(Path(__file__).parents[2] / document):
        path = [word for word in words[1:] if not word.startswith("-")][:3]
        known = long_options(path)
        assert words[1] == "--version" or words[1].startswith("--") or words[1] in COMMANDS, words
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given - {"--"} <= known, f"{document}: {' '.join(words)}"
