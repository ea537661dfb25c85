"""matplotlib, whatever the user has set up for it: the same input gives the same picture."""

import logging
import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from ctgkit.errors import MissingExtra

_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "ctgkit",
    "font.family": "DejaVu Sans",
    "path.simplify": False,
}
"""No random names in files, and the font that comes with matplotlib."""


def load_matplotlib(purpose: str) -> None:
    """Import matplotlib without reading the user's settings: MPLBACKEND and matplotlibrc.

    A backend of a notebook or a broken file of settings would end the import with a traceback.

    Raises
    ------
    MissingExtra
        When it isn't installed; *purpose* is what needs it.
    """
    for name in ("matplotlib", "fontTools", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)  # with -v they tell every font
    ambient = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    os.environ["MATPLOTLIBRC"] = os.devnull
    try:
        with chdir(Path(__file__).parent):  # ./matplotlibrc comes first
            import matplotlib.figure  # noqa: F401 - loaded for whoever imports it next
    except ImportError as error:
        raise MissingExtra(purpose, "matplotlib", "paper") from error
    finally:
        del os.environ["MATPLOTLIBRC"]
        os.environ.update({name: value for name, value in ambient.items() if value is not None})


@contextmanager
def plain_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults; the caller's settings are as before afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
