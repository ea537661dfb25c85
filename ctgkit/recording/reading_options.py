"""The options of every command that reads a recording."""

from dataclasses import dataclass

from ctgkit.cli.options import option
from ctgkit.cli.types import RATE_MAX_HZ, Refined, number, whole
from ctgkit.errors import excerpt
from ctgkit.recording.files.options import MAX_MB, ReadOptions

COLUMN_MAX_CHARS = 200


def _column(text: str) -> str:
    if len(text) > COLUMN_MAX_CHARS:
        raise ValueError(f"{excerpt(text)!r} is longer than any name of a column")
    return text


def _separator(text: str) -> str:
    if text and (len(text) > 1 or text in '"\r\n' or not (text.isprintable() or text == "\t")):
        raise ValueError(f"{excerpt(text)!r} is not one character")
    return text


def _encoding(text: str) -> str:
    try:
        "".encode(text or "utf-8")
    except (LookupError, ValueError):
        raise ValueError(f"{excerpt(text)!r} is not a text encoding that Python knows") from None
    return text


COLUMN = Refined("COL", _column)
SECTION = "Reading ambiguous files"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How to read a recording; settings of commands with a ``--rate`` of their own extend it."""

    fhr_column: str = option(
        "--fhr",
        default="",
        type=COLUMN,
        section=SECTION,
        help="Column or signal with the heart rate, by name or number.",
    )
    toco_column: str = option(
        "--toco",
        default="",
        type=COLUMN,
        section=SECTION,
        help="Column or signal with the toco.",
    )
    time_column: str = option(
        "--time", default="", type=COLUMN, section=SECTION, help="Column with the time."
    )
    fetus: int | None = option(
        "--fetus",
        type=whole("N", 1, 9),
        section=SECTION,
        help="Number of the heart rate to read if there are several; default: all.",
    )
    exam_number: int | None = option(
        "--exam",
        type=whole("N", 1, 2**63 - 1),
        section=SECTION,
        help="Number of the examination to read from a database; default: all.",
    )
    separator: str = option(
        "--separator",
        default="",
        type=Refined("CHAR", _separator),
        section=SECTION,
        help="Column separator of text files; default: detected.",
    )
    encoding: str = option(
        "--encoding",
        default="",
        type=Refined("NAME", _encoding),
        section=SECTION,
        help="Encoding of text files; default: detected.",
    )
    no_header: bool = option(
        "--no-header",
        is_flag=True,
        section=SECTION,
        help="The text file has no header; columns are named by their number.",
    )
    accept_implausible: bool = option(
        "--accept-implausible",
        is_flag=True,
        section=SECTION,
        help="Read values that cannot be a heart rate as no signal.",
    )
    max_mb: int = option(
        "--max-mb",
        type=whole("N", 1, 1 << 20),
        default=MAX_MB,
        section=SECTION,
        help="Largest size that a file may decompress to, MiB.",
    )

    def reading(self, *, rate_hz: float | None = None, skip_bad: bool = False) -> ReadOptions:
        """Return them as a reader wants them."""
        return ReadOptions(
            fhr=self.fhr_column,
            toco=self.toco_column,
            time=self.time_column,
            rate_hz=rate_hz,
            fetus=self.fetus or 0,
            exam=self.exam_number or 0,
            separator=self.separator,
            encoding=self.encoding,
            no_header=self.no_header,
            accept_implausible=self.accept_implausible,
            max_mb=self.max_mb,
            skip_bad=skip_bad,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedReadingOptions(ReadingOptions):
    """The same with ``--rate``, the file's."""

    file_rate: float | None = option(
        "--rate",
        type=number("HZ", 0, RATE_MAX_HZ, above=True),
        section=SECTION,
        help="Samples/s; times are computed from the row numbers of FILE.",
    )

    def reading(self, *, rate_hz: float | None = None, skip_bad: bool = False) -> ReadOptions:
        """Return them as a reader wants them."""
        return ReadingOptions.reading(self, rate_hz=rate_hz or self.file_rate, skip_bad=skip_bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoosingOptions(RatedReadingOptions):
    """The same with ``--sensor``, the choice of one among several."""

    sensor: str = option(
        "--sensor",
        default="",
        metavar="ID",
        section=SECTION,
        help="Sensor to read if FILE has several: the beginning of its id, or its number.",
    )
