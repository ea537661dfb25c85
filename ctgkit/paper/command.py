"""``ctgkit paper``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit import private
from ctgkit.cli.options import common_options
from ctgkit.display import DISCLAIMER, FHR_SCALES, PAPER_SPEEDS_CM_MIN, clock
from ctgkit.drawing import load_matplotlib, plain_style
from ctgkit.errors import ConfigError, CtgkitError
from ctgkit.recording.reading_options import reading_options, taken_from

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


@click.command(epilog="Example: ctgkit paper labour.csv.gz --out labour.pdf --speed-cm-min 3")
@common_options
@click.argument("file", type=click.Path(path_type=Path))
@reading_options()
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="*.pdf (A4 sheets), *.png or *.svg (one strip).",
)
@click.option(
    "--speed-cm-min",
    type=click.Choice([str(speed) for speed in PAPER_SPEEDS_CM_MIN]),
    default=str(PAPER_SPEEDS_CM_MIN[0]),
    show_default=True,
    help="Paper speed.",
)
@click.option(
    "--range",
    "fhr_range",
    type=click.Choice(list(_RANGES)),
    default=next(iter(_RANGES)),
    show_default=True,
    help="Heart rate axis, beats/min.",
)
@click.option(
    "--events",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Marks: the JSON of `ctgkit analyze`, a simulation's truth, or results, one per line.",
)
@click.option("--sensor", default="", metavar="ID", help="Start of the id, if FILE holds several.")
@click.option("--from", "from_s", type=click.FloatRange(0), metavar="S", help="Start here.")
@click.option("--to", "to_s", type=click.FloatRange(0), metavar="S", help="Stop here.")
@click.option(
    "--simulated/--not-simulated",
    default=None,
    help="Say in the margin that the data are simulated; default: if the file says so.",
)
@click.option("--dpi", type=click.IntRange(50, 600), default=150, show_default=True, help="Of PNG.")
def paper(
    file: Path,
    out: Path,
    speed_cm_min: str,
    fhr_range: str,
    events: Path | None,
    sensor: str,
    from_s: float | None,
    to_s: float | None,
    simulated: bool | None,
    dpi: int,
    **options: Any,
) -> None:
    """Print FILE on CTG paper, true to scale: a centimetre is a centimetre.

    FILE is a recording of any format, or an examination from `ctgkit exam export`. PDF is printed
    at 100 %. A test tool, not a medical device.
    """
    if out.suffix not in _KINDS:
        raise click.BadParameter(f"{out}: none of {', '.join(_KINDS)}", param_hint="--out")
    load_matplotlib("paper")
    from ctgkit.paper.sheet import MAX_PIXELS, MAX_STRIP_CM, cut
    from ctgkit.paper.subject import read_findings, read_subject

    subject = read_subject(file, sensor, taken_from(options))
    if events:
        subject.findings = read_findings(events, sensor)
    if simulated is None:
        simulated = subject.simulated or subject.findings.simulated
    times_s = subject.recording.sec_from_start
    first_s = max(float(times_s[0]), from_s or 0.0)
    last_s = float(times_s[-1]) if to_s is None else min(float(times_s[-1]), to_s)
    if first_s > last_s:
        raise ConfigError(str(file), f"has nothing there: {times_s[0]:g} to {times_s[-1]:g} s")
    paged = out.suffix == ".pdf"
    sheets = cut(first_s, last_s, int(speed_cm_min), _RANGES[fhr_range], paged=paged)
    longest_cm = (
        min(MAX_STRIP_CM, MAX_PIXELS / dpi * 2.54) if out.suffix == ".png" else MAX_STRIP_CM
    )
    if sheets[0].width_cm > longest_cm:
        raise ConfigError(
            str(out),
            f"the strip would be {sheets[0].width_cm:.0f} cm long: use PDF, or --from --to",
        )
    _write(out, _figures(subject, sheets, simulated), dpi)
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
