"""The map in docs/architecture.md is the one that the imports draw, and it has no cycles.

``python -m tests.test_map`` writes it again.
"""

from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from tests.test_architecture import MODULES, PACKAGE, imports_of, name_of

DOCUMENT = Path(__file__).parent.parent / "docs" / "architecture.md"
BEGIN, END = "<!-- map: python -m tests.test_map -->\n```\n", "```\n<!-- end of map -->"
ROOMS = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}


@cache
def arrows():
    """Return package -> packages that it imports; a module at the top is left out."""
    found = {room: set() for room in sorted(ROOMS)}
    for path in MODULES:
        own = name_of(path).split(".")[1:2]
        if own and own[0] in ROOMS:
            used = {i.split(".")[1] for i in imports_of(path) if i.startswith("ctgkit.")}
            found[own[0]] |= (used & ROOMS) - set(own)
    return found


def drawn():
    """Return a line per package; those that import nobody come last."""
    found = arrows()
    sorter, order = TopologicalSorter(found), []
    sorter.prepare()
    while sorter:
        level = sorted(sorter.get_ready(), reverse=True)
        order += level
        sorter.done(*level)
    width = max(map(len, ROOMS))
    return "".join(
        f"{room:{width}}  {' '.join(sorted(found[room])) or '-'}\n" for room in reversed(order)
    )


def test_there_are_no_cycles():
    assert list(TopologicalSorter(arrows()).static_order())


def test_the_document_shows_the_map():
    text = DOCUMENT.read_text()
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == drawn()


if __name__ == "__main__":
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(text[: text.index(BEGIN) + len(BEGIN)] + drawn() + text[text.index(END) :])
