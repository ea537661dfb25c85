"""Large figures for values that must be read from across a room: three rows of half blocks."""

_GLYPHS = {
    "0": ("█▀█", "█ █", "▀▀▀"),
    "1": ("▄█ ", " █ ", "▀▀▀"),
    "2": ("▀▀█", "█▀▀", "▀▀▀"),
    "3": ("▀▀█", " ▀█", "▀▀▀"),
    "4": ("█ █", "▀▀█", "  ▀"),
    "5": ("█▀▀", "▀▀█", "▀▀▀"),
    "6": ("█▀▀", "█▀█", "▀▀▀"),
    "7": ("▀▀█", "  █", "  ▀"),
    "8": ("█▀█", "█▀█", "▀▀▀"),
    "9": ("█▀█", "▀▀█", "▀▀▀"),
    "-": ("   ", "▀▀▀", "   "),
    " ": ("   ", "   ", "   "),
}
ROWS = 3


def large(text: str) -> list[str]:
    r"""Return digits, minus signs and spaces as three rows of four cells per character.

    >>> print("\n".join(row.rstrip() for row in large("14")))
    ▄█  █ █
     █  ▀▀█
    ▀▀▀   ▀
    """
    return ["".join(_GLYPHS[c][row] + " " for c in text) for row in range(ROWS)]
