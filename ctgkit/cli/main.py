"""The ``ctgkit`` command: names the commands, imports one when it runs, turns errors into codes.

Exit codes: 0 ok; 1 a check or threshold failed, or nothing happened; 2 usage; 3 target
unreachable or lost; 4 bad scenario, recording or configuration; 130 Ctrl-C.
"""

import importlib
import logging
import os
import sys
from typing import Any

import click

from ctgkit import __version__
from ctgkit.errors import CtgkitError, printable

COMMANDS = {
    "demo": ("ctgkit.demo:demo", "Backend, ML stub, sensors and live view in one command."),
    "init": ("ctgkit.server.command:init", "Write ctgkit.toml with sensors and random tokens."),
    "serve": ("ctgkit.server.command:serve", "Run the backend."),
    "sensor": ("ctgkit.sensor.command:sensor", "Run one or many fake sensors."),
    "generate": ("ctgkit.simulate.generate:generate", "Write a scenario's signal to files."),
    "scenario": ("ctgkit.simulate.scenario_command:scenario", "List, show and check scenarios."),
    "ml": ("ctgkit.mlstub.command:ml", "Run the stub ML service."),
    "watch": ("ctgkit.watch.command:watch", "Watch a backend live in the terminal."),
    "analyze": ("ctgkit.analysis.command:analyze", "Analyse a recording: events, baseline, class."),
    "paper": ("ctgkit.paper.command:paper", "Print a recording on CTG paper, true to scale."),
    "record": ("ctgkit.recording.command:record", "Record a viewer stream, or as a proxy."),
    "replay": ("ctgkit.replay.command:replay", "Play a recording, as sensors or as a backend."),
    "inspect": ("ctgkit.recording.inspect_command:inspect", "Say what a recording is."),
    "convert": ("ctgkit.recording.convert_command:convert", "Convert recordings between formats."),
    "proxy": ("ctgkit.proxy.command:proxy", "Stand between two parties and let things go wrong."),
    "check": ("ctgkit.check.command:check", "Judge anybody's backend or ML service."),
    "score": ("ctgkit.score.command:score", "Score an analyzer against the truth."),
    "bench": ("ctgkit.bench.command:bench", "Find how many sensors a backend carries."),
    "schema": ("ctgkit.cli.schema:schema", "Print the contract as AsyncAPI or JSON Schema."),
    "exam": ("ctgkit.server.exam:exam", "Read back what a backend stored."),
}
"""Name -> (module:function, one line of help). The only list of commands."""


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"auto_envvar_prefix": "CTGKIT", "help_option_names": ["-h", "--help"]},
    epilog="A test tool, not a medical device. Every option is also CTGKIT_<COMMAND>_<OPTION>.",
)
@click.version_option(__version__, prog_name="ctgkit")
def cli() -> None:
    """Fake CTG sensors, a backend, a stub ML service and a live view.

    Example: ctgkit demo
    """


class OneLine(logging.Formatter):
    """Keeps a message on its line: a peer's text can't forge lines or command the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """Return the line without its traceback."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback, indented: its last lines may quote a peer."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {printable(line)}" for line in lines)


def main() -> None:
    """Run the command line and exit with its code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("websockets").setLevel(logging.WARNING)  # its INFO repeats ours
    try:
        code = cli.main(prog_name="ctgkit", standalone_mode=False) or 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except CtgkitError as error:
        click.echo(printable(f"ctgkit: {error}"), err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except BrokenPipeError:  # `ctgkit … | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
