"""Only what changed is written to the terminal, in its colours or in none."""

import io

from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from ctgkit.watch.screen import Screen

RED = Style(color="red", bold=True)


def screen(**options):
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=True,
        width=20,
        height=2,
        color_system="truecolor",
        _environ={"TERM": "xterm-256color"},  # not that of whoever runs the test
        **options,
    )
    return Screen(console), file


def lines(*texts):
    return [[Segment(text, RED)] for text in texts]


def written(file):
    text = file.getvalue()
    file.seek(0)
    file.truncate()
    return text


def test_writes_the_lines_that_changed():
    """The first picture is written whole, the next one only where it differs."""
    shown, file = screen()
    shown.draw(lines("one", "two"))
    assert "one" in (text := written(file))
    assert "two" in text
    shown.draw(lines("one", "three"))
    assert written(file) == "\x1b[2;1H\x1b[1;31mthree\x1b[0m"
    shown.draw(lines("one", "three"))
    assert written(file) == ""


def test_no_colour_keeps_bold():
    """NO_COLOR takes the colours away and leaves what tells things apart without them."""
    shown, file = screen(no_color=True)
    shown.draw(lines("one"))
    assert written(file) == "\x1b[1;1H\x1b[1mone\x1b[0m"


def test_gives_the_terminal_back():
    """The alternate screen and the hidden cursor end with the context."""
    shown, file = screen()
    with shown:
        assert written(file) == "\x1b[?1049h\x1b[H\x1b[?25l"
    assert written(file) == "\x1b[?25h\x1b[?1049l"
