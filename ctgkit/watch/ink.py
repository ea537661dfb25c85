"""Styled lines of a screen: palettes as rich styles, text cut and padded to a width.

This module performs no I/O. Text that came over the network goes through
:func:`~ctgkit.errors.excerpt` first: rich passes escape sequences on.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from ctgkit.display import COLOURS

Line = list[Segment]
Part = tuple[str, str]
"""A text and the name of its style."""
Palette = Mapping[str, Style]


@cache
def palette(theme: str) -> Palette:
    """Return the styles of a theme by name.

    A style is named after its colour in :data:`~ctgkit.display.COLOURS`; ``+band`` puts it on the
    normal band, ``+bold`` and ``+alarm`` make it louder. ``auto`` leaves the background alone.
    """
    styles: dict[str, Style] = {}
    for name in COLOURS:
        plain = _style(theme, name, "paper")
        styles[name] = plain
        styles[f"{name}+band"] = _style(theme, name, "band")
        styles[f"{name}+bold"] = plain + Style(bold=True)
        styles[f"{name}+alarm"] = plain + Style(bold=True, reverse=True)
    return styles


def _style(theme: str, name: str, background: str) -> Style:
    if theme == "auto":
        return Style(color=COLOURS[name].ansi, dim=name in ("grid", "faint"))
    index = 1 if theme == "dark" else 0
    return Style(color=COLOURS[name][index], bgcolor=COLOURS[background][index])


def line(
    parts: Iterable[Part], width: int, styles: Palette, right: Sequence[Part] = (), fill: str = ""
) -> Line:
    """Return one line of exactly *width* cells: *parts* on the left, *right* if it fits too.

    Parameters
    ----------
    parts, right : iterable of Part
        Printable text.
    width : int
        Cells.
    styles : Palette
        Of the theme.
    fill : str
        Style of the room between them; ``ink`` when empty.
    """
    segments: Line = []
    room = width
    tail = sum(cell_len(text) for text, _ in right)
    for text, style in parts:
        size = cell_len(text)
        if size > room:
            text, size = set_cell_size(text, max(room - 1, 0)) + ("…" if room else ""), room
        segments.append(Segment(text, styles[style]))
        room -= size
    if right and tail <= room:
        segments.append(Segment(" " * (room - tail), styles[fill or "ink"]))
        segments += [Segment(text, styles[style]) for text, style in right]
    elif room:
        segments.append(Segment(" " * room, styles[fill or "ink"]))
    return segments


def cell_line(codes: NDArray[np.uint32], inks: NDArray[np.uint8], styles: Sequence[Style]) -> Line:
    """Return a row of characters as a line.

    Parameters
    ----------
    codes : ndarray of shape (n_cells,)
        Code points, each one cell wide.
    inks : ndarray of shape (n_cells,)
        For each cell the index of its style in *styles*.
    styles : sequence of Style
        The inks.
    """
    return list(_segments(codes.astype("<u4").tobytes(), inks.tobytes(), tuple(styles)))


@lru_cache(maxsize=512)  # from one picture to the next most rows stay the same
def _segments(codes: bytes, inks: bytes, styles: tuple[Style, ...]) -> tuple[Segment, ...]:
    text = codes.decode("utf-32-le")
    starts = np.flatnonzero(np.diff(np.frombuffer(inks, dtype=np.uint8))) + 1
    edges = [0, *starts.tolist(), len(text)]
    return tuple(Segment(text[a:b], styles[inks[a]]) for a, b in pairwise(edges))
