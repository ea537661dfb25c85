"""``ctgkit paper``."""

from dataclasses import dataclass
from pathlib import Path

import click

from ctgkit.cli.options import OUTPUT, argument, command, option, simulated_option
from ctgkit.cli.types import PAUSE, File, OutFile, Recorded, whole
from ctgkit.display import FHR_SCALES, PAPER_SPEEDS_CM_MIN
from ctgkit.drawing import load_matplotlib
from ctgkit.dsn import Dsn
from ctgkit.errors import ConfigError
from ctgkit.recording.reading_options import RatedReadingOptions

_RANGES = {f"{scale.lo:g}-{scale.hi:g}": scale for scale in FHR_SCALES}
KINDS = (".pdf", ".png", ".svg")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOptions(RatedReadingOptions):
    """Options of `ctgkit paper`."""

    file: Path | Dsn = argument(type=Recorded())
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
        help="Events to mark: the JSON output of `ctgkit analyze`, a simulation's truth, or"
        " results, one per line.",
    )
    baseline: bool = option(
        "--baseline",
        is_flag=True,
        help="Draw the baseline from --events, dashed where it is held, and the area of each"
        " event.",
    )
    sensor: str = option(
        "--sensor",
        default="",
        metavar="ID",
        help="Sensor to print if FILE has several; the beginning of its id is enough.",
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

    FILE is a recording of any format, or an examination from `ctgkit exam export`. Print the PDF at
    100 %. A test tool, not a medical device.
    """
    file, out = options.file, options.out
    if out.suffix.lower() not in KINDS:
        raise click.BadParameter(f"{out}: none of {', '.join(KINDS)}", param_hint="--out")
    load_matplotlib("paper")
    from ctgkit.paper.printing import Printing, print_subject
    from ctgkit.paper.subject import read_findings, read_subject

    subject = read_subject(file, options.sensor, options.reading())
    if options.events:
        subject.findings = read_findings(
            options.events, options.sensor, of=subject.recording, source=file
        )
    if options.baseline and not subject.findings.baseline:
        reason = "--baseline: nothing is said of one; give --events with `ctgkit analyze --json`"
        raise ConfigError(str(options.events or file), reason)
    wanted = Printing(
        speed_cm_min=int(options.speed_cm_min),
        scale=_RANGES[options.fhr_range],
        from_s=options.from_s,
        to_s=options.to_s,
        simulated=options.simulated,
        baseline=options.baseline,
        dpi=options.dpi,
    )
    sheets = print_subject(subject, out, wanted, str(file))
    click.echo(f"{out}: {sheets} sheet{'s' * (sheets > 1)}")
