"""docs/scenarios.md is what docs/make_strips.py writes, and every scenario has its strip."""

import importlib.util
from pathlib import Path

import pytest

from ctgkit.simulate.library import scenario_names

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def make_strips():
    """Return the script as a module; it imports matplotlib only to draw."""
    spec = importlib.util.spec_from_file_location("make_strips", DOCS / "make_strips.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(make_strips):
    """Run `make strips` after changing knobs or scenarios."""
    assert (DOCS / "scenarios.md").read_text() == make_strips.page()


def test_every_scenario_was_drawn_and_looked_at():
    """A picture, and a sentence on what was seen."""
    page = (DOCS / "scenarios.md").read_text()
    for name in scenario_names():
        assert (DOCS / "scenarios" / f"{name}.png").stat().st_size > 10_000, name
        assert f"![{name}](scenarios/{name}.png)" in page
