"""The command line: help without imports, one place for exit codes, options from anywhere."""

import asyncio
import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ctgkit.cli.main import COMMANDS, cli
from ctgkit.errors import StoreError
from ctgkit.net.eventloop import run as run_loop
from ctgkit.server.command import serve


def run(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "ctgkit", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        **more,
    )


BROUGHT = """
import sys
before = set(sys.modules)
try: {}
except SystemExit: pass
print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""


def test_help_imports_what_click_and_logging_do_and_ten_modules():
    """`ctgkit --help` stays quick: a module more is a decision, not an accident."""

    def brought_by(statement):
        code = BROUGHT.format(statement)
        command = [sys.executable, "-I", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout, set(done.stderr.split())

    helped, ours = brought_by("sys.argv[1:] = ['--help']; from ctgkit.__main__ import main; main()")
    assert "demo" in helped
    _, floor = brought_by("import gc, logging, click; click.Group('x').main(['--help'])")
    cli_modules = {"logs", "main", "progress", "sources"}
    # coverage has loaded signal before
    assert (ours - floor) | {"signal"} == {
        "ctgkit", "ctgkit.__main__", "ctgkit.cli", "ctgkit.errors",
        "ctgkit.interrupts", "signal",
        *(f"ctgkit.cli.{name}" for name in cli_modules),
    }  # fmt: skip


def commands(group, prefix=()):
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield (*prefix, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*prefix, name))


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(p, c, id=" ".join(p)) for p, c in commands(cli)]
)
def test_every_command_has_help_with_an_example(path, command):
    """Each command says what it does, and shows how."""
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert command.help
    assert "Example: ctgkit" in result.output


def test_the_short_help_is_the_commands_own():
    """The one-line list and the commands tell the same story: none is missing."""
    assert {name for (name, *rest), _ in commands(cli) if not rest} == set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--version"], 0, "ctgkit, version"),
        (["nonsense"], 2, "No such command"),
        (["serve", "--port", "x"], 2, "is not a whole number"),
        (["serve", "--config", "missing.toml"], 4, "missing.toml"),
        (["serve", "--store", "mysql://x"], 2, "sqlite:///PATH"),
        (["serve", "--ml", "http://x"], 2, "--ml"),
        (["serve", "--tls-key", __file__], 2, "--tls-cert"),
        (["serve", "--host", "0.0.0.0", "--config", "open.toml"], 4, "viewer_token is missing"),
        (["serve", "--host", "0.0.0.0", "--config", "weak.toml"], 4, "is too easy to guess"),
        (["serve", "--public-viewers", "--host", "::", "--config", "weak.toml"], 4, "to guess"),
        (["serve", "--config", "typo.toml"], 4, "did you mean 'port'"),
        (["exam", "list", "--store", "sqlite:///missing.db"], 4, "no such file"),
        (["sensor", "--url", "ws://127.0.0.1:9/ws/sensor", "--connect-timeout", "0"], 2, "serve"),
    ],
)
def test_exit_codes(tmp_path, monkeypatch, arguments, code, text):
    """0 ok, 2 usage, 4 configuration: always one line that says why, never a traceback."""
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    sensor = "[[sensors]]\nid='00000000-0000-0000-0000-000000000000'\ntoken='t'\n"
    (tmp_path / "typo.toml").write_text("[serve]\nprot = 1\n" + sensor)
    (tmp_path / "weak.toml").write_text(sensor)
    (tmp_path / "open.toml").write_text(sensor.replace("'t'", "'hG7_kq2Zt0-xW9vB'"))
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_task_groups_failure_is_one_line():
    """What explains itself is found in the group that a task group raises."""

    async def fail():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(60))
            raise StoreError("x.db", "malformed")

    with pytest.raises(StoreError, match=r"x\.db: malformed"):
        run_loop(fail())


def test_precedence_of_options(tmp_path, monkeypatch):
    """Flag over environment over file over default."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ctgkit.toml").write_text("[serve]\nml-retry = 3\nport = 3\ngrace = 3\n")
    monkeypatch.setenv("CTGKIT_SERVE_PORT", "2")
    monkeypatch.setenv("CTGKIT_SERVE_GRACE", "2")
    seen = {}
    monkeypatch.setattr(serve, "callback", lambda **options: seen.update(options))
    CliRunner().invoke(
        cli, ["serve", "--grace", "1"], auto_envvar_prefix="CTGKIT", catch_exceptions=False
    )
    wanted = {"grace": 1.0, "port": 2, "ml_retry": 3.0, "ml": ("ws://127.0.0.1:8081/ws/ctg",)}
    assert {name: seen[name] for name in wanted} == wanted


ASCII_ONLY = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "COLUMNS": "40"}


def test_a_locale_without_our_signs(tmp_path):
    """Nothing that is read or written depends on it, and nothing that is printed fails."""
    environment = os.environ | ASCII_ONLY | {"XDG_STATE_HOME": str(tmp_path)}
    (tmp_path / "mine.toml").write_text("[meta]\ntitle = 'Früh – später'\n", encoding="utf-8")
    for arguments in (
        ["--help"],
        ["sensor", "--help"],
        ["scenario", "lint", "mine.toml"],
        ["scenario", "show", "mine.toml"],
        ["generate", "--scenario", "mine.toml", "--duration", "600", "--out", "s.csv"],
        ["inspect", "s.csv"],
        ["analyze", "s.csv", "--lang", "ru", "--out", "a.json"],
        ["proxy", "--list"],
        ["schema", "asyncapi"],
    ):
        done = run(*arguments, cwd=tmp_path, env=environment)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (arguments, done.stderr)
    json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
