"""The ``ctgkit`` command: names the commands, imports one when it runs, turns errors into codes.

Exit codes: 0 ok; 1 a check or threshold failed, or nothing happened; 2 usage; 3 target
unreachable or lost; 4 bad scenario, recording or configuration; 130 Ctrl-C; 143 SIGTERM, where it
isn't the usual way to end the command.
"""

import importlib
import io
import logging
import os
import sys
from typing import Any

import click

from ctgkit import __version__, interrupts
from ctgkit.cli import logs
from ctgkit.cli.sources import remark
from ctgkit.errors import CtgkitError, excerpt, near, printable

UNUSABLE_FILE = 4
"""Exit code where the system refuses a file."""
SECTIONS = {
    "Run": {
        "demo": ("ctgkit.demo:demo", "Backend, ML stub, sensors and live view in one command."),
        "init": ("ctgkit.server.command:init", "Write ctgkit.toml with sensors and random tokens."),
        "serve": ("ctgkit.server.command:serve", "Run the backend."),
        "ml": ("ctgkit.mlstub.command:ml", "Run the stub ML service."),
    },
    "Simulate": {
        "sensor": ("ctgkit.sensor.command:sensor", "Run one or many fake sensors."),
        "generate": ("ctgkit.simulate.generate:generate", "Write a scenario's signal to files."),
        "scenario": (
            "ctgkit.simulate.scenario_command:scenario",
            "List, show and check scenarios.",
        ),
        "profile": ("ctgkit.profile.command:profile", "List, show and check wire profiles."),
    },
    "View": {
        "watch": ("ctgkit.watch.command:watch", "Watch a backend live in the terminal."),
        "paper": ("ctgkit.paper.command:paper", "Print a recording on CTG paper, true to scale."),
    },
    "Record and replay": {
        "record": ("ctgkit.recording.command:record", "Record a viewer stream or proxied traffic."),
        "replay": ("ctgkit.replay.command:replay", "Play a recording as sensors or as a backend."),
        "proxy": ("ctgkit.proxy.command:proxy", "Inject faults between client and server."),
    },
    "Test": {
        "check": (
            "ctgkit.check.command:check",
            "Check a backend, ML service or sensor.",
        ),
        "score": ("ctgkit.score.command:score", "Score an analyzer against the truth."),
        "bench": ("ctgkit.bench.command:bench", "Find how many sensors a backend can handle."),
    },
    "Data": {
        "analyze": (
            "ctgkit.analysis.command:analyze",
            "Find a recording's events, baseline and class.",
        ),
        "inspect": ("ctgkit.recording.inspect_command:inspect", "Describe a recording file."),
        "convert": ("ctgkit.recording.convert_command:convert", "Convert recordings."),
        "schema": (
            "ctgkit.schema:schema",
            "Print the contract as AsyncAPI, OpenAPI or JSON Schema.",
        ),
        "exam": ("ctgkit.server.exam:exam", "Read and manage stored examinations."),
        "sensors": (
            "ctgkit.server.registering:sensors",
            "Manage the sensors stored in the database.",
        ),
        "store": ("ctgkit.server.databases:store", "Create, copy and compare databases."),
        "nodes": ("ctgkit.server.databases:nodes", "List the backends that share a database."),
    },
    "Setup and help": {
        "config": ("ctgkit.cli.config_command:config", "Show every option and where it was set."),
        "doctor": ("ctgkit.doctor:doctor", "Check this machine for missing requirements."),
        "completion": (
            "ctgkit.cli.completion:completion",
            "Print a completion script for your shell.",
        ),
        "help": ("ctgkit.cli.helping:help_", "Show what a command does."),
    },
}
"""Section of ``--help`` -> name -> (module:function, one line). The only list of commands."""
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """A group that imports a command when it runs, and none for ``--help``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before the command: commands' options are no good there."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = "; the options of a command go after its name, as in `ctgkit serve -q`"
            error.message = error.message.rstrip(".") + hint  # type: ignore[misc]
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; of one that isn't there, the nearest is named."""
        name = args[0]
        if name not in COMMANDS and name[:1].isalnum():
            ctx.fail(f"No such command {excerpt(name)!r}{near(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what went wrong says which values came from elsewhere than its line."""
        try:
            return super().invoke(ctx)
        except (CtgkitError, OSError, click.UsageError) as error:
            running = ctx.meta.get("ctgkit.running")
            if running is None:
                raise
            if isinstance(error, click.UsageError):
                error.message += remark(running, error.message)  # type: ignore[misc]
            else:
                error.add_note(remark(running, str(error)))
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        width = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), line) for name, (_, line) in commands.items()]
                formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"auto_envvar_prefix": "CTGKIT", "help_option_names": ["-h", "--help"]},
    epilog="A test tool, not a medical device. Every option can also be set as"
    " CTGKIT_<COMMAND>_<OPTION> or in ctgkit.toml.",
)
@click.version_option(__version__, prog_name="ctgkit")
def cli() -> None:
    """Fake CTG sensors, a backend, a stub ML service and a live view.

    Example: ctgkit demo
    """


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(interrupts.ended(run))


def run() -> int:
    """Run the command line and return its exit code."""
    logging.basicConfig(level=logging.INFO, handlers=[logs.Lines(sys.stderr)])
    logs.use(os.environ.get(logs.VARIABLE, ""))
    logging.getLogger("websockets").setLevel(logging.WARNING)  # its INFO repeats ours
    for stream in (sys.stdout, sys.stderr):  # a locale without our signs is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            utf8 = stream.encoding.lower() in ("utf-8", "utf8")
            stream.reconfigure(errors="surrogateescape" if utf8 else "replace")
    try:
        return cli.main(prog_name="ctgkit", standalone_mode=False) or 0
    except Exception as error:
        if interrupts.came():
            raise
        return _told(error)


def _told(error: Exception) -> int:
    """Say on one line what went wrong, and return the exit code."""
    try:
        raise error
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        if not isinstance(error, click.MissingParameter):
            error.message = printable(error.message)  # type: ignore[misc] # no line of its own
        _complain(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:  # `ctgkit … | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (CtgkitError, OSError) as error:
        _say(f"ctgkit: {_line(error)}")
        logging.debug("where it happened", exc_info=True)
        return error.exit_code if isinstance(error, CtgkitError) else UNUSABLE_FILE


def _complain(error: click.ClickException) -> None:
    """Show a refusal of the command line, with the usage."""
    if logs.are_json():
        _say(error.format_message())
    else:
        error.show()


def _say(text: str) -> None:
    """Write the line that a command ends with."""
    if logs.are_json():
        logging.error("%s", text)
    else:
        click.echo(printable(text), err=True)


def _line(error: CtgkitError | OSError) -> str:
    """Return what went wrong; of what the system refused, with the file's name."""
    told = "".join(getattr(error, "__notes__", ()))
    if isinstance(error, CtgkitError):
        return f"{error}{told}"
    named = f"{error.filename}: " if error.filename else ""
    return f"{named}{error.strerror or error}{told}"
