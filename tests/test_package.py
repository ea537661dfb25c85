"""What is installed: types, entry point, and no more than is promised."""

import re
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

from ctgkit import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_one_version():
    """The package, its metadata and the project file agree."""
    assert "version" in PROJECT["dynamic"]  # it stands in ctgkit/__init__.py only
    assert __version__ == version("ctgkit")


def test_the_command_is_installed():
    """`ctgkit` leads to the command line."""
    (script,) = entry_points(group="console_scripts", name="ctgkit")
    assert PROJECT["scripts"] == {"ctgkit": "ctgkit.__main__:main"}
    assert script.load().__name__ == "main"


def test_types_are_shipped():
    """Type checkers may look inside."""
    assert (ROOT / "ctgkit" / "py.typed").exists()


def test_the_changelog_speaks_of_what_is_coming():
    """There is always a place for the next line."""
    assert re.search(r"^## Unreleased", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
