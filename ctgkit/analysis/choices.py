"""The option that names a guideline, for every command that classifies."""

from typing import Any

import click

from ctgkit.cli.options import option

GUIDELINE_NAMES = (
    "figo",
    "nichd",
    "fischer",
    "fischer-savelyeva",
    "krebs",
    "ng229",
    "dawes-redman",
)
"""The keys of :data:`ctgkit.analysis.tables.GUIDELINES`, which needs numpy to be imported."""


def guideline_option(help_text: str) -> Any:
    """Return ``--guideline``."""
    return option("--guideline", type=click.Choice(GUIDELINE_NAMES), default="figo", help=help_text)
