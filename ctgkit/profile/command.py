"""``ctgkit profile list|show|lint``."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ctgkit.cli.options import common_options
from ctgkit.errors import ConfigError

if TYPE_CHECKING:
    from ctgkit.profile.render import Outgoing, Renderer

SHOWN = 3
"""Messages that ``show`` prints."""


@click.group()
def profile() -> None:
    """List, show and check profiles: how samples look on a wire that isn't ours."""


@profile.command("list", epilog="Example: ctgkit profile list")
@common_options
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def list_profiles(as_json: bool) -> None:
    """List the shipped profiles."""
    from ctgkit.profile.library import load_profile, profile_names

    about = {name: load_profile(name).profile.about for name in profile_names()}
    if as_json:
        click.echo(json.dumps([{"name": name, "about": text} for name, text in about.items()]))
        return
    width = max(map(len, about))
    for name, text in about.items():
        click.echo(f"{name:{width}}  {text}")


@profile.command(epilog="Example: ctgkit profile show signal-messages > mine.toml")
@common_options
@click.argument("name", metavar="NAME|FILE.toml")
@click.option("--messages", is_flag=True, help="Print its first three messages instead.")
@click.option("--scenario", default="normal-reactive", show_default=True, help="Played in them.")
@click.option("--seed", default=0, show_default=True, help="Seed of the scenario.")
def show(name: str, messages: bool, scenario: str, seed: int) -> None:
    """Print a profile, or the first messages that it makes of a scenario."""
    from ctgkit.profile.library import load_profile, profile_text

    if not messages:
        click.echo(profile_text(name), nl=False)
        return
    for number, one in enumerate(_first_messages(load_profile(name), scenario, seed), 1):
        click.echo(f"# {number}: {_target(one)}")
        for header, value in one.headers:
            click.echo(f"{header}: {value}")
        click.echo(one.body.decode())


@profile.command(epilog="Example: ctgkit profile lint mine.toml")
@common_options
@click.argument("name", metavar="NAME|FILE.toml")
def lint(name: str) -> None:
    """Check a profile, and say where it is wrong. Exit code 4 when it is."""
    from ctgkit.profile.library import load_profile

    renderer = load_profile(name)
    first = _first_messages(renderer, "normal-reactive", 0, SHOWN + len(renderer.profile.setup))
    messages = [one for one in first if one.samples]
    if not messages:
        raise ConfigError(name, "makes no message of the first samples of normal-reactive")
    click.echo(f"{name}: ok; {_target(messages[0])}, per {renderer.profile.per}")


def _target(one: "Outgoing") -> str:
    web = one.url.startswith(("http://", "https://"))
    return f"{one.method} {one.url}" if web else one.url


def _first_messages(
    renderer: "Renderer", scenario: str, seed: int, count: int = SHOWN
) -> "list[Outgoing]":
    """Return the first messages; what a setup request would capture stands as its name."""
    from ctgkit.profile.batches import batches
    from ctgkit.profile.render import Session
    from ctgkit.simulate.library import load_scenario
    from ctgkit.simulate.sensor import Sensor

    names = {name: f"~{name}~" for one in renderer.profile.setup for name in one.capture}
    secrets = {f"secret.{name}": "~secret~" for name in renderer.profile.secrets}
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    session = Session("00000000-0000-4000-8000-000000000000", start, {**names, **secrets})
    source = Sensor(load_scenario(scenario), seed, rate_hz=renderer.profile.rate_hz or 4.0)
    made: list[Outgoing] = [one for _, one in renderer.setup(session)]
    for batch in batches(source, renderer.profile, session.sensor_id):
        made += renderer.render(batch, session)
        if len(made) >= count or batch[-1].sec_from_start > renderer.profile.batch_s + 60:
            break
    return made[:count]
