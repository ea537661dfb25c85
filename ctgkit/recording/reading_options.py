"""The options of every command that reads a recording."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ctgkit.recording.files.options import MAX_MB, ReadOptions

F = TypeVar("F", bound=Callable[..., Any])

_NAMES = (
    "fhr_column", "toco_column", "time_column", "file_rate", "fetus", "exam_number", "separator",
    "encoding", "no_header", "accept_implausible", "max_mb",
)  # fmt: skip


def reading_options(*, rate: bool = True, sensor: bool = False) -> Callable[[F], F]:
    """Add ``--fhr``, ``--toco``, ``--time``, ``--rate`` and the like to a command.

    Parameters
    ----------
    rate : bool
        Whether to add ``--rate``; a command that has one of its own doesn't need another.
    sensor : bool
        Whether to add ``--sensor``, the choice of one among several.
    """

    def add(command: F) -> F:
        options = [
            click.option("--fhr", "fhr_column", default="", metavar="COL",
                         help="Column or signal with the heart rate, by name or number."),
            click.option("--toco", "toco_column", default="", metavar="COL",
                         help="Column or signal with the toco."),
            click.option("--time", "time_column", default="", metavar="COL",
                         help="Column with the time."),
            click.option("--fetus", type=click.IntRange(1, 9), default=None, metavar="N",
                         help="Which of several heart rates; default all."),
            click.option("--exam", "exam_number", type=click.IntRange(1), metavar="N",
                         help="Which examination of a database; default all."),
            click.option("--separator", default="", metavar="CHAR",
                         help="Between columns of text; default: found out."),
            click.option("--encoding", default="", metavar="NAME",
                         help="Of text; default: found out."),
            click.option("--no-header", is_flag=True,
                         help="Text begins with numbers: columns go by their number."),
            click.option("--accept-implausible", is_flag=True,
                         help="Read what can't be a heart rate, as no signal."),
            click.option("--max-mb", type=click.IntRange(1, 1 << 20), default=MAX_MB,
                         metavar="N", show_default=True,
                         help="Most that a file may unpack to, MiB."),
        ]  # fmt: skip
        if rate:
            options.append(
                click.option("--rate", "file_rate", metavar="HZ",
                             type=click.FloatRange(0, 1000, min_open=True),
                             help="Samples per second: times from the rows of FILE.")
            )  # fmt: skip
        if sensor:
            options.append(
                click.option("--sensor", default="", metavar="ID",
                             help="Start of the id, or number, if FILE holds several.")
            )  # fmt: skip
        for option in reversed(options):
            command = option(command)
        return command

    return add


def taken_from(options: dict[str, Any], *, skip_bad: bool = False) -> ReadOptions:
    """Take what :func:`reading_options` added out of a command's options."""
    own = {name: options.pop(name, None) for name in _NAMES}
    return ReadOptions(
        fhr=own["fhr_column"],
        toco=own["toco_column"],
        time=own["time_column"],
        rate_hz=own["file_rate"],
        fetus=own["fetus"] or 0,
        exam=own["exam_number"] or 0,
        separator=own["separator"],
        encoding=own["encoding"],
        no_header=own["no_header"],
        accept_implausible=own["accept_implausible"],
        max_mb=own["max_mb"],
        skip_bad=skip_bad,
    )
