"""The live page: its files as answers, and what they take from :mod:`ctgkit.display`."""

import json
from importlib.resources import files
from pathlib import PurePosixPath

from ctgkit import display, samples
from ctgkit.net.http import Answer

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
"""Only our own files and our own socket; text can't become markup."""
_HEADERS = (("Content-Security-Policy", _CSP), ("Referrer-Policy", "no-referrer"))
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def page_files() -> dict[str, str]:
    """Return every file of the page by its name: those in the package and those made here."""
    directory = files("ctgkit.server") / "page"
    found = {file.name: file.read_text("utf-8") for file in directory.iterdir() if file.is_file()}
    return found | {"display.js": _display_js(), "colours.css": _colours_css()}


def page_answers(*, ask_token: bool) -> dict[str, Answer]:
    """Return path -> answer.

    Parameters
    ----------
    ask_token : bool
        Whether viewers must show the access token: the page then asks for it.
    """
    access = f"export const ASK_TOKEN = {json.dumps(ask_token)};\n"
    texts = page_files() | {"access.js": access}
    answers = {
        f"/page/{name}": Answer(
            200, text.encode(), _CONTENT_TYPES[PurePosixPath(name).suffix], _HEADERS
        )
        for name, text in texts.items()
    }
    return answers | {"/": answers.pop("/page/index.html")}


def _display_js() -> str:
    """Return the numbers of :mod:`ctgkit.display` as a JavaScript module."""
    numbers = {
        "disclaimer": display.DISCLAIMER,
        "fhr_scales": [scale._asdict() for scale in display.FHR_SCALES],
        "toco_scale": display.TOCO_SCALE._asdict(),
        "speeds_cm_min": display.PAPER_SPEEDS_CM_MIN,
        "grid_cm": display.GRID_CM,
        "band_bpm": display.NORMAL_BAND_BPM,
        "max_step_bpm": display.MAX_STEP_BPM,
        "gap_s": samples.GAP_S,
        "reorder_s": display.REORDER_S,
        "quality_window_s": display.QUALITY_WINDOW_S,
        "poor_signal_share": display.POOR_SIGNAL_SHARE,
        "contractions_over_s": display.CONTRACTIONS_OVER_S,
        "stale_after_s": display.STALE_AFTER_S,
        "max_sensors": display.MAX_SENSORS,
        "max_events": display.MAX_EVENTS,
        "fhr_limits_bpm": (samples.FHR_MIN_BPM, samples.FHR_MAX_BPM),
        "toco_limits": (samples.TOCO_MIN, samples.TOCO_MAX),
        "sec_from_start_max_s": samples.SEC_FROM_START_MAX_S,
        "alarms": {kind: rule._asdict() for kind, rule in display.ALARMS.items()},
        "status_signs": display.STATUS_SIGNS,
        "event_signs": display.EVENT_SIGNS,
        "event_labels": display.EVENT_LABELS,
        "deceleration_letters": display.DECELERATION_LETTERS,
    }
    return f"export const DISPLAY = {json.dumps(numbers, ensure_ascii=False, indent=1)};\n"


def _colours_css() -> str:
    """Return the colours of :mod:`ctgkit.display` as CSS variables, light and dark."""

    def root(palette: str) -> str:
        variables = (f"--{n}:{getattr(c, palette)};" for n, c in display.COLOURS.items())
        return f":root{{{''.join(variables)}}}"

    return f"{root('light')}\n@media (prefers-color-scheme: dark){{{root('dark')}}}\n"
