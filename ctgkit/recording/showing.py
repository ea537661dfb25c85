"""A recording as a data frame, and as a notebook shows it."""

import io
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ctgkit.errors import CtgkitError

if TYPE_CHECKING:
    from ctgkit.recording import Recording

COLUMNS = ("sec_from_start", "fhr_bpm", "uterus", "spasms")
NOT_A_DEVICE = "a test tool, not a medical device"


def data_frame(recording: "Recording", library: Literal["pandas", "polars"] | None) -> Any:
    """Return the samples as a data frame; see :meth:`ctgkit.recording.Recording.to_frame`."""
    columns = {name: getattr(recording, name) for name in COLUMNS}
    for name in (library,) if library else ("pandas", "polars"):
        try:
            return import_module(name).DataFrame(columns)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    wanted = library or "pandas or polars"
    raise CtgkitError(f"a data frame needs {wanted}: pip install {library or 'pandas'}")


def as_html(recording: "Recording") -> str:
    """Return what is known of a recording as a table."""
    sec, fhr = recording.sec_from_start, recording.fhr_bpm
    rows = {
        "sensor": recording.sensor_id or "unknown",
        "samples": f"{len(sec)}, {sec[0]:g} to {sec[-1]:g} s",
        "signal": f"{100 * np.isfinite(fhr).mean():.0f} % of the heart rate",
        "started": recording.started or "unknown",
        "simulated": {True: "yes", False: "no", None: "unknown"}[recording.simulated],
        "events": str(len(recording.events)),
    }
    cells = "".join(f"<tr><th>{k}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f"<table>{cells}</table><small>{NOT_A_DEVICE}</small>"


def as_png(recording: "Recording") -> bytes | None:
    """Return both traces as a picture; None where matplotlib is missing."""
    from ctgkit.drawing import load_matplotlib

    try:
        load_matplotlib("a picture")
    except CtgkitError:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    minutes = recording.sec_from_start / 60
    upper.plot(minutes, recording.fhr_bpm, linewidth=0.7, color="black")
    upper.set(ylabel="FHR, beats/min", ylim=(50, 210))
    lower.plot(minutes, recording.uterus, linewidth=0.7, color="black")
    mark = "simulated; " if recording.simulated else ""
    lower.set(ylabel="toco", xlabel=f"minutes ({mark}{NOT_A_DEVICE})")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
