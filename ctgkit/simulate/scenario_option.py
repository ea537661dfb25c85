"""``--scenario``, as several commands have it."""

from typing import Any

import click

from ctgkit.cli.options import option


def scenario_option(help_text: str, *, default: str = "normal-reactive", **more: Any) -> Any:
    """Return ``--scenario``."""

    def completed(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        from ctgkit.simulate.library import scenario_names

        return [name for name in scenario_names() if name.startswith(incomplete)]

    text = f"{help_text}; `ctgkit scenario list` lists them."
    attributes = {"metavar": "NAME|FILE", "shell_complete": completed, "help": text} | more
    return option("--scenario", default=default, **attributes)
