"""A subject onto sheets, and those into a file."""

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from ctgkit import private
from ctgkit.cli.streams import whole_or_not
from ctgkit.display import DISCLAIMER, FHR_SCALES, PAPER_SPEEDS_CM_MIN, Scale, clock
from ctgkit.drawing import plain_style
from ctgkit.errors import ConfigError, RecordingError
from ctgkit.paper.picture import draw
from ctgkit.paper.sheet import MAX_PIXELS, MAX_STRIP_CM, Sheet, cut
from ctgkit.paper.subject import Subject

_METADATA = {
    ".pdf": {"Creator": "ctgkit", "CreationDate": None},
    ".svg": {"Creator": "ctgkit", "Date": None},
    ".png": {"Software": None},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Printing:
    """How to print."""

    speed_cm_min: int = PAPER_SPEEDS_CM_MIN[0]
    scale: Scale = FHR_SCALES[0]
    """Heart rate axis."""
    from_s: float | None = None
    to_s: float | None = None
    """Data time, seconds; None: from the first and to the last sample."""
    simulated: bool | None = None
    """Whether to mark the data as simulated; None: where the file or the findings say so."""
    baseline: bool = False
    dpi: int = 150


def print_subject(subject: Subject, out: Path, wanted: Printing, source: str) -> int:
    """Print a subject; return the number of sheets.

    Parameters
    ----------
    subject : Subject
        Samples and findings.
    out : Path
        ``.pdf`` for A4 sheets, ``.png`` or ``.svg`` for one strip.
    wanted : Printing
        How.
    source : str
        Named in errors about the samples.

    Raises
    ------
    ConfigError
        When there are no samples in the interval, or the strip would be too long.
    RecordingError
        When the file cannot be written.
    """
    simulated = wanted.simulated
    if simulated is None:
        simulated = subject.simulated or subject.findings.simulated
    times_s = subject.recording.sec_from_start
    first_s = max(float(times_s[0]), wanted.from_s or 0.0)
    last_s = float(times_s[-1])
    if wanted.to_s is not None:
        last_s = min(last_s, wanted.to_s)
    if first_s > last_s:
        reason = f"has no samples in that interval: {times_s[0]:g} to {times_s[-1]:g} s"
        raise ConfigError(source, reason)
    kind = out.suffix.lower()
    paged = kind == ".pdf"
    sheets = cut(first_s, last_s, wanted.speed_cm_min, wanted.scale, paged=paged)
    longest_cm = MAX_STRIP_CM
    if kind == ".png":
        longest_cm = min(MAX_STRIP_CM, MAX_PIXELS / wanted.dpi * 2.54)
    if sheets[0].width_cm > longest_cm:
        raise ConfigError(
            str(out),
            f"the strip would be {sheets[0].width_cm:.0f} cm long: use PDF, or --from --to",
        )
    _write(out, _figures(subject, sheets, simulated, wanted.baseline), wanted.dpi)
    return sheets[-1].page + 1


def _figures(
    subject: Subject, sheets: list[Sheet], simulated: bool, baseline: bool
) -> Iterator[Figure]:
    warning = f"{'SIMULATED DATA · ' if simulated else ''}{DISCLAIMER} · not for clinical use"
    whose = " · ".join(["CTG", *subject.names()])
    pages = sheets[-1].page + 1
    for page, group in itertools.groupby(sheets, key=lambda sheet: sheet.page):
        strips = list(group)
        parts = [
            f"{strips[0].speed_cm_min} cm/min",
            f"{strips[0].fhr.scale.per_cm:g} beats/min per cm",
            f"{clock(strips[0].start_s)} to {clock(strips[-1].end_s)}",
        ]
        if subject.findings.figo:
            parts.append(f"class {subject.findings.figo}")
        if pages > 1:
            parts.append(f"sheet {page + 1} of {pages}")
        yield draw(strips, subject, (whose, " · ".join(parts)), warning, baseline=baseline)


def _write(out: Path, figures: Iterator[Figure], dpi: int) -> None:
    kind = out.suffix.lower()
    drawn = io.BytesIO()  # on a full disk matplotlib ends in an error of its compressor
    with plain_style():
        if kind == ".pdf":
            with PdfPages(drawn, metadata=_METADATA[kind]) as pages:
                for figure in figures:
                    pages.savefig(figure)
        else:
            next(figures).savefig(drawn, format=kind[1:], dpi=dpi, metadata=_METADATA[kind])
    try:
        with whole_or_not(out) as unfinished:
            private.write_bytes(unfinished, drawn.getvalue())
    except OSError as error:
        raise RecordingError(str(out), 0, error.strerror or str(error)) from error
