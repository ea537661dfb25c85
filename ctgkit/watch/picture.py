"""A screen as SVG. This module performs no I/O.

Braille patterns and blocks are drawn as shapes, so that the picture doesn't depend on the fonts of
whoever opens it; it loads nothing from the network.
"""

import re
from collections.abc import Iterable
from html import escape

from rich.cells import cell_len
from rich.color import Color
from rich.style import Style

from ctgkit.display import DISCLAIMER
from ctgkit.watch.ink import Line, Palette
from ctgkit.watch.strip import BITS, BRAILLE

_CELL_W, _CELL_H = 8, 16
_FINE_DOT, _DOT = 1.6, 3.2
_DOTS = [(b, x, y) for y, pair in enumerate(BITS) for x, b in enumerate(pair)]
"""Bit, column and row of each dot of a pattern."""
_BLOCKS = {"█": (0, _CELL_H), "▀": (0, _CELL_H // 2), "▄": (_CELL_H // 2, _CELL_H // 2)}
_WORD = re.compile(r"[^\s█▀▄\u2800-\u28ff]+")


def svg_picture(lines: Iterable[Line], width: int, height: int, styles: Palette) -> str:
    """Return a screen as SVG.

    Parameters
    ----------
    lines : iterable of Line
        In a theme with a background of its own.
    width, height : int
        Cells.
    styles : Palette
        Of that theme; its grid is drawn finer than the rest.
    """
    size = f"{width * _CELL_W} {height * _CELL_H}"
    fine = {styles["grid"], styles["grid+band"]}
    body: list[str] = []
    for row, segments in enumerate(lines):
        column = 0
        for text, style, _ in segments:
            if text and style is not None:
                dot = _FINE_DOT if style in fine else _DOT
                body += _segment(text, style, column * _CELL_W, row * _CELL_H, dot)
            column += cell_len(text)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}"'
            f' font-family="monospace" font-size="{_CELL_H * 0.8:g}">',
            f"<title>ctgkit watch. {DISCLAIMER}</title>",
            f'<rect width="100%" height="100%" fill="{_hex(styles["ink"].bgcolor)}"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def _segment(text: str, style: Style, left: int, top: int, dot: float) -> list[str]:
    ink, paper = _hex(style.color), _hex(style.bgcolor)
    if style.reverse:
        ink, paper = paper, ink
    width = cell_len(text) * _CELL_W
    parts = [f'<rect x="{left}" y="{top}" width="{width}" height="{_CELL_H}" fill="{paper}"/>']
    dots, blocks = [], []
    for column, char in enumerate(text):
        x = left + column * _CELL_W
        if char in _BLOCKS:
            y, height = _BLOCKS[char]
            blocks.append(f"M{x} {top + y}h{_CELL_W}v{height}h-{_CELL_W}z")
        for bit, across, down in _DOTS if BRAILLE < ord(char) <= BRAILLE + 0xFF else ():
            if ord(char) - BRAILLE & bit:
                dots.append(f"M{x + 2 + 4 * across} {top + 2 + 4 * down}h.01")
    if dots:
        path = "".join(dots)
        parts.append(
            f'<path d="{path}" stroke="{ink}" stroke-width="{dot}" stroke-linecap="round"/>'
        )
    if blocks:
        parts.append(f'<path d="{"".join(blocks)}" fill="{ink}"/>')
    weight = ' font-weight="bold"' if style.bold else ""
    for word in _WORD.finditer(text):
        x = left + cell_len(text[: word.start()]) * _CELL_W
        length = cell_len(word[0]) * _CELL_W
        parts.append(
            f'<text x="{x}" y="{top + _CELL_H * 0.75:g}" textLength="{length}"'
            f' fill="{ink}"{weight}>{escape(word[0])}</text>'
        )
    return parts


def _hex(colour: Color | None) -> str:
    assert colour is not None, "the theme has no colours of its own"
    return colour.get_truecolor().hex
