"""``ctgkit scenario``: list, show and check scenarios."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import argument, command, json_option

if TYPE_CHECKING:
    from ctgkit.simulate.scenario import Change, Scenario


def _plain(value: Any) -> Any:
    """Return a number, word, Draw or Shares as JSON."""
    from ctgkit.simulate.scenario import Draw, Shares

    if isinstance(value, Draw):
        return {f"p{p:g}": v for p, v in zip(value.percents, value.values, strict=True)}
    if isinstance(value, Shares):
        starts = (0.0, *value.cumulative)
        return {
            word: round(high - low, 6)
            for word, low, high in zip(value.words, starts, value.cumulative, strict=False)
        }
    return value


def _change(change: "Change") -> dict[str, Any]:
    found: dict[str, Any] = {"t_s": _plain(change.t_s)}
    if change.ramp_s:
        found["ramp_s"] = change.ramp_s
    if change.chance < 1:
        found["chance"] = change.chance
    for name, table in (("set", change.set), ("scale", change.scale)):
        if table:
            found[name] = {path: _plain(v) for path, v in table.items()}
    if change.force:
        force = change.force
        found["force"] = {
            "event": force.event, "size": force.size, "duration_s": force.duration_s
        }  # fmt: skip
    if change.phase:
        found["phase"] = change.phase
    return found


def as_dict(scenario: "Scenario") -> dict[str, Any]:
    """Return a scenario with every knob, ready for JSON."""
    from ctgkit.faults.schema import fault_as_dict

    shares = [share for share, _ in scenario.mix]
    return {
        "id": scenario.id,
        "title": scenario.title,
        "duration_s": scenario.duration_s,
        "ga_weeks": scenario.ga_weeks,
        "knobs": {path: _plain(v) for path, v in scenario.numbers.items()},
        "words": {path: _plain(v) for path, v in scenario.words.items()},
        "timeline": [_change(c) for c in scenario.timeline],
        "faults": [fault_as_dict(fault) for fault in scenario.faults],
        "mix": {
            part.id: round(share - before, 6)
            for before, (share, part) in zip([0.0, *shares], scenario.mix, strict=False)
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Options of `ctgkit scenario list`."""

    as_json: bool = json_option("One JSON object per line.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions:
    """Options of `ctgkit scenario show`."""

    name: str = argument()
    as_json: bool = json_option("One JSON object with every knob.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LintOptions:
    """Options of `ctgkit scenario lint`."""

    names: tuple[str, ...] = argument(nargs=-1, required=True)
    as_json: bool = json_option("One JSON object per scenario.")


@click.group(epilog="Example: ctgkit scenario show late-decels-mild")
def scenario() -> None:
    """List, show and check scenarios."""


@command(ListOptions, name="list", parent=scenario, example="ctgkit scenario list")
def list_(options: ListOptions) -> None:
    """List the shipped scenarios."""
    from ctgkit.simulate.library import load_scenario, scenario_names

    for name in scenario_names():
        loaded = load_scenario(name)
        if options.as_json:
            row = {"id": name, "title": loaded.title, "duration_s": loaded.duration_s}
            click.echo(json.dumps(row))
        else:
            click.echo(f"{name:<30}{loaded.title}")


@command(ShowOptions, parent=scenario, example="ctgkit scenario show sinusoidal")
def show(options: ShowOptions) -> None:
    """Show what a scenario sets: NAME or FILE.toml."""
    from ctgkit.simulate.knobs import CHOICES, KNOBS
    from ctgkit.simulate.library import load_scenario

    loaded = as_dict(load_scenario(options.name))
    if options.as_json:
        click.echo(json.dumps(loaded))
        return
    click.echo(f"{loaded['id']}: {loaded['title']}")
    click.echo(f"{loaded['duration_s'] / 60:g} min, {loaded['ga_weeks']:g} weeks")
    for part, share in loaded["mix"].items():
        click.echo(f"  {share:6.1%}  {part}")
    for path, value in loaded["knobs"].items():
        if value != KNOBS[path].default:
            click.echo(f"  {path} = {_toml(value)} {KNOBS[path].unit}".rstrip())
    for path, value in loaded["words"].items():
        if value != CHOICES[path].default:
            click.echo(f"  {path} = {_toml(value)}")
    for change in loaded["timeline"]:
        rest = ", ".join(f"{k} {_toml(v)}" for k, v in change.items() if k != "t_s")
        click.echo(f"  at {_toml(change['t_s'])} s: {rest}")
    for fault in loaded["faults"]:
        click.echo("  fault " + ", ".join(f"{k} {_toml(v)}" for k, v in fault.items()))


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return f"{value:g}" if isinstance(value, float | int) else str(value)


@command(LintOptions, parent=scenario, example="ctgkit scenario lint mine.toml")
def lint(options: LintOptions) -> None:
    """Check scenarios: names or TOML files; exit code 4 when one is wrong."""
    from ctgkit.errors import ScenarioError
    from ctgkit.simulate.library import load_scenario

    wrong = 0
    for name in options.names:
        try:
            load_scenario(name)
            error = None
        except ScenarioError as found:
            error, wrong = str(found), wrong + 1
        if options.as_json:
            click.echo(json.dumps({"scenario": name, "ok": error is None, "error": error}))
        else:
            click.echo(f"{name}: ok" if error is None else error)
    if wrong:
        click.get_current_context().exit(ScenarioError.exit_code)
