"""``ctgkit profile list|show|lint``."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ctgkit.cli.options import argument, command, json_option, option, seed_option
from ctgkit.errors import ConfigError

if TYPE_CHECKING:
    from ctgkit.profile.render import Renderer
    from ctgkit.profile.session import Outgoing

SHOWN = 3
"""Messages that ``show`` prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Options of `ctgkit profile list`."""

    as_json: bool = json_option("Print a list of objects.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions:
    """Options of `ctgkit profile show`."""

    name: str = argument(metavar="NAME|FILE.toml")
    messages: bool = option(
        "--messages", is_flag=True, help="Print the first three messages instead."
    )
    scenario: str = option(
        "--scenario",
        default="normal-reactive",
        metavar="NAME|FILE",
        help="Scenario to make the messages from.",
    )
    seed: int = seed_option("the scenario")


@dataclass(frozen=True, slots=True, kw_only=True)
class LintOptions:
    """Options of `ctgkit profile lint`."""

    name: str = argument(metavar="NAME|FILE.toml")


@click.group(epilog="Example: ctgkit profile show signal-messages > mine.toml")
def profile() -> None:
    """List, show and check profiles, which describe the wire formats of other systems."""


@command(ListOptions, name="list", parent=profile, example="ctgkit profile list")
def list_(options: ListOptions) -> None:
    """List the shipped profiles."""
    from ctgkit.profile.library import load_profile, profile_names

    about = {name: load_profile(name).profile.about for name in profile_names()}
    if options.as_json:
        click.echo(json.dumps([{"name": name, "about": text} for name, text in about.items()]))
        return
    width = max(map(len, about))
    for name, text in about.items():
        click.echo(f"{name:{width}}  {text}")


@command(ShowOptions, parent=profile, example="ctgkit profile show signal-messages > mine.toml")
def show(options: ShowOptions) -> None:
    """Print a profile, or the first messages that it makes from a scenario."""
    from ctgkit.profile.library import load_profile, profile_text

    if not options.messages:
        click.echo(profile_text(options.name), nl=False)
        return
    made = _first_messages(load_profile(options.name), options.scenario, options.seed)
    for number, one in enumerate(made, 1):
        click.echo(f"# {number}: {_target(one)}")
        for header, value in one.headers:
            click.echo(f"{header}: {value}")
        click.echo(one.body.decode())


@command(LintOptions, parent=profile, example="ctgkit profile lint mine.toml")
def lint(options: LintOptions) -> None:
    """Check a profile and report errors. Exit code 4 if there are any."""
    from ctgkit.profile.library import load_profile

    renderer = load_profile(options.name)
    scenario = "twins" if renderer.names_second else "normal-reactive"
    first = _first_messages(renderer, scenario, 0, SHOWN + len(renderer.profile.setup))
    messages = [one for one in first if one.samples]
    if not messages:
        raise ConfigError(options.name, f"produces no message from the first samples of {scenario}")
    click.echo(f"{options.name}: ok; {_target(messages[0])}, per {renderer.profile.per}")
    if renderer.names_second:
        said = "{fhr2} is a gap unless the scenario has a second fetus, as twins has"
        click.echo(said, err=True)


def _target(one: "Outgoing") -> str:
    web = one.url.startswith(("http://", "https://"))
    return f"{one.method} {one.url}" if web else one.url


def _first_messages(
    renderer: "Renderer", scenario: str, seed: int, count: int = SHOWN
) -> "list[Outgoing]":
    """Return the first messages; what a setup request would capture stands as its name."""
    from ctgkit.profile.batches import batches, beside
    from ctgkit.profile.session import Session
    from ctgkit.simulate.library import load_scenario
    from ctgkit.simulate.sensor import Sensor

    names = {name: f"~{name}~" for one in renderer.profile.setup for name in one.capture}
    secrets = {f"secret.{name}": "~secret~" for name in renderer.profile.secrets}
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    session = Session("00000000-0000-4000-8000-000000000000", start, {**names, **secrets})
    source = Sensor(load_scenario(scenario), seed, rate_hz=renderer.profile.rate_hz or 4.0)
    made: list[Outgoing] = [one for _, one in renderer.setup(session)]
    for batch in batches(source, renderer.profile, session.sensor_id):
        if renderer.looks_beside:
            session.beside = beside(source, batch, second=renderer.names_second)
        made += renderer.render(batch, session)
        if len(made) >= count or batch[-1].sec_from_start > renderer.profile.batch_s + 60:
            break
    return made[:count]
