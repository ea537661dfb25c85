"""``ctgkit paper``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctgkit import private
from ctgkit.cli.options import OUTPUT, argument, command, option, simulated_option
from ctgkit.cli.types import PAUSE, File, OutFile, whole
from ctgkit.display import DISCLAIMER, FHR_SCALES, PAPER_SPEEDS_CM_MIN, clock
from ctgkit.drawing import load_matplotlib, plain_style
from ctgkit.errors import ConfigError, CtgkitError
from ctgkit.recording.reading_options import RatedReadingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from ctgkit.paper.sheet import Sheet
    from ctgkit.paper.subject import Subject

_RANGES = {f"{scale.lo:g}-{scale.hi:g}": scale for scale in FHR_SCALES}
_KINDS = (".pdf", ".png", ".svg")
_METADATA = {
    ".pdf": {"Creator": "ctgkit", "CreationDate": None},
    ".svg": {"Creator": "ctgkit", "Date": None},
    ".png": {"Software": None},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOptions(RatedReadingOptions):
    """Options of `ctgkit paper`."""

    file: Path = argument(type=File(dir_okay=True))
    out: Path = option(
        "--out",
        required=True,
        type=OutFile(),
        help="*.pdf (A4 sheets), *.png or *.svg (one strip).",
    )
    speed_cm_min: str = option(
        "--speed-cm-min",
        type=click.Choice([str(speed) for speed in PAPER_SPEEDS_CM_MIN]),
        default=str(PAPER_SPEEDS_CM_MIN[0]),
        help="Paper speed, cm/min.",
    )
    fhr_range: str = option(
        "--range",
        type=click.Choice(list(_RANGES)),
        default=next(iter(_RANGES)),
        help="Heart rate axis, beats/min.",
    )
    events: Path | None = option(
        "--events",
        type=File(),
        help="Events to mark: the JSON of `ctgkit analyze`, a simulation's truth, or results, one"
        " per line.",
    )
    sensor: str = option(
        "--sensor",
        default="",
        metavar="ID",
        help="Which sensor, if FILE holds several; the beginning of its id is enough.",
    )
    from_s: float | None = option(
        "--from", type=PAUSE, section="Interval", help="Begin at S seconds of data time."
    )
    to_s: float | None = option(
        "--to", type=PAUSE, section="Interval", help="End at S seconds of data time."
    )
    simulated: bool | None = simulated_option()
    dpi: int = option(
        "--dpi",
        type=whole("N", 50, 600),
        default=150,
        section=OUTPUT,
        help="Resolution of a PNG, dots per inch.",
    )


@command(PaperOptions, example="ctgkit paper labour.csv.gz --out labour.pdf --speed-cm-min 3")
def paper(options: PaperOptions) -> None:
    """Print FILE on CTG paper, true to scale: a centimetre is a centimetre.

    FILE is a recording of any format, or an examination from `ctgkit exam export`. PDF is printed
    at 100 %. A test tool, not a medical device.
    """
    file, out = options.file, options.out
    if out.suffix not in _KINDS:
        raise click.BadParameter(f"{out}: none of {', '.join(_KINDS)}", param_hint="--out")
    load_matplotlib("paper")
    from ctgkit.paper.sheet import MAX_PIXELS, MAX_STRIP_CM, cut
    from ctgkit.paper.subject import read_findings, read_subject

    subject = read_subject(file, options.sensor, options.reading())
    if options.events:
        subject.findings = read_findings(options.events, options.sensor)
    simulated = options.simulated
    if simulated is None:
        simulated = subject.simulated or subject.findings.simulated
    times_s = subject.recording.sec_from_start
    first_s = max(float(times_s[0]), options.from_s or 0.0)
    last_s = float(times_s[-1])
    if options.to_s is not None:
        last_s = min(last_s, options.to_s)
    if first_s > last_s:
        reason = f"has no samples in that interval: {times_s[0]:g} to {times_s[-1]:g} s"
        raise ConfigError(str(file), reason)
    paged = out.suffix == ".pdf"
    scale = _RANGES[options.fhr_range]
    sheets = cut(first_s, last_s, int(options.speed_cm_min), scale, paged=paged)
    longest_cm = MAX_STRIP_CM
    if out.suffix == ".png":
        longest_cm = min(MAX_STRIP_CM, MAX_PIXELS / options.dpi * 2.54)
    if sheets[0].width_cm > longest_cm:
        raise ConfigError(
            str(out),
            f"the strip would be {sheets[0].width_cm:.0f} cm long: use PDF, or --from --to",
        )
    _write(out, _figures(subject, sheets, simulated), options.dpi)
    click.echo(f"{out}: {len(sheets)} sheet{'s' * (len(sheets) > 1)}")


def _figures(subject: "Subject", sheets: "list[Sheet]", simulated: bool) -> "Iterator[Figure]":
    from ctgkit.paper.picture import draw

    warning = f"{'SIMULATED DATA · ' if simulated else ''}{DISCLAIMER} · not for clinical use"
    for number, sheet in enumerate(sheets, 1):
        parts = [
            "CTG",
            f"{sheet.speed_cm_min} cm/min",
            f"{sheet.fhr.scale.per_cm:g} beats/min per cm",
            f"{clock(sheet.start_s)} to {clock(sheet.end_s)}",
        ]
        if subject.findings.figo:
            parts.append(f"class {subject.findings.figo}")
        if len(sheets) > 1:
            parts.append(f"sheet {number} of {len(sheets)}")
        yield draw(sheet, subject, " · ".join(parts), warning)


def _write(out: Path, figures: "Iterator[Figure]", dpi: int) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    metadata = _METADATA[out.suffix]
    try:
        with plain_style(), private.writing(out):
            if out.suffix == ".pdf":
                with PdfPages(out, metadata=metadata) as pages:
                    for figure in figures:
                        pages.savefig(figure)
            else:
                next(figures).savefig(out, dpi=dpi, metadata=metadata)
    except OSError as error:
        raise CtgkitError(f"{out}: {error.strerror or error}") from error
