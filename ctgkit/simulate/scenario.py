"""Scenarios: from TOML to a checked description of what a patient does.

A knob is a number, or a distribution over patients given by its percentiles, such as
``{ p5 = 120, p50 = 138, p95 = 160 }``. A word is a word, or shares: ``{ doppler = 0.8, … }``.
The timeline (``[[at]]``) changes knobs, suddenly or over a ramp, and forces events. Faults
(``[[fault]]``) strike what the sensor sends.

This module performs no I/O: whoever calls :func:`parse_scenario` supplies the texts.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ctgkit import toml
from ctgkit.errors import ConfigError, ScenarioError, excerpt, near
from ctgkit.faults.fault import Fault
from ctgkit.faults.schema import FaultError, read_fault
from ctgkit.simulate.knobs import CHOICES, FORCED, KNOBS

MAX_EXTENDS = 8
_TIME = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(s|min|h)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Draw:
    """A number that differs between patients, by its percentiles."""

    percents: tuple[float, ...]
    """Increasing, in [0, 100]."""
    values: tuple[float, ...]
    """The percentiles, not decreasing."""

    def at(self, u: float) -> float:
        """Return the quantile of *u* in [0, 1); constant beyond the outermost percentiles."""
        return float(np.interp(100 * u, self.percents, self.values))


@dataclass(frozen=True, slots=True)
class Shares:
    """A word that differs between patients."""

    words: tuple[str, ...]
    cumulative: tuple[float, ...]
    """Increasing to 1."""

    def at(self, u: float) -> str:
        """Return the word of *u* in [0, 1)."""
        return self.words[int(np.searchsorted(self.cumulative, u, side="right"))]


Number = float | Draw
Word = str | Shares


@dataclass(frozen=True, slots=True)
class ForcedEvent:
    """An event that happens whatever the dice say."""

    event: str
    """A key of :data:`ctgkit.simulate.knobs.FORCED`."""
    size: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of the timeline."""

    t_s: Number
    ramp_s: float = 0.0
    chance: float = 1.0
    """Share of patients to whom it happens."""
    set: dict[str, Number] = field(default_factory=dict)
    scale: dict[str, Number] = field(default_factory=dict)
    """Factors on the values in force."""
    force: ForcedEvent | None = None
    phase: str = ""
    """Name of the hypoxia phase that begins; truth only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A checked scenario."""

    id: str
    title: str
    duration_s: float
    """How long it is worth watching, seconds; a sensor may run on."""
    ga_weeks: float
    numbers: dict[str, Number]
    """Every knob."""
    words: dict[str, Word]
    timeline: tuple[Change, ...]
    faults: tuple[Fault, ...] = ()
    """What happens between the sensor and its socket."""
    patients: str = ""
    """Whose patients these are: scenarios that agree in it have the same with the same seed."""
    mix: tuple[tuple[float, "Scenario"], ...] = ()
    """Cumulative share and scenario, when this is a cohort of others."""

    @property
    def has_twins(self) -> bool:
        """Whether sensors 0 and 1, 2 and 3, … are on twins."""
        return self.words["sensor.twins"] == "yes"


class _Reader:
    """Takes one document apart; every complaint carries its path."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario

    def fail(self, key: str, reason: str) -> ScenarioError:
        return ScenarioError(self.scenario, key, reason)

    def table(self, value: Any, key: str, known: Iterable[str]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self.fail(key, f"expected a table, got {excerpt(repr(value))}")
        known = list(known)
        for name in value:
            if name not in known:
                at = f"{key}.{name}" if key else name
                raise self.fail(at, f"unknown key{near(name, known)}")
        return value

    def plain(self, value: Any, key: str, low: float, high: float, unit: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise self.fail(key, f"expected a number, got {excerpt(repr(value))}")
        if not low <= value <= high:
            raise self.fail(key, f"{value:g} is outside {low:g} to {high:g} {unit}".rstrip())
        return float(value)

    def number(self, value: Any, key: str, low: float, high: float, unit: str) -> Number:
        if not isinstance(value, Mapping):
            return self.plain(value, key, low, high, unit)
        percents = []
        for name in value:
            match = re.fullmatch(r"p(\d+(?:\.\d+)?)", name)
            if match is None or float(match[1]) > 100:
                raise self.fail(f"{key}.{name}", "expected percentiles p0 to p100")
            percents.append((float(match[1]), name))
        if not percents:
            raise self.fail(key, "expected at least one percentile, such as p50")
        percents.sort()
        values = [self.plain(value[n], f"{key}.{n}", low, high, unit) for _, n in percents]
        if values != sorted(values):
            raise self.fail(key, "percentiles must not decrease")
        return Draw(tuple(p for p, _ in percents), tuple(values))

    def seconds(self, value: Any, key: str) -> float:
        if isinstance(value, str):
            match = _TIME.fullmatch(value.strip())
            if match is None:
                raise self.fail(key, f"expected a time such as '90s', '20min' or 2h, got {value!r}")
            value = float(match[1]) * _SECONDS[match[2]]
        return self.plain(value, key, 0, 366 * 86400, "s")

    def changes(self, value: Any, key: str) -> Mapping[str, Any]:
        """Read a table whose keys are dotted names of knobs that may change during a run."""
        for path in self.table(value, key, KNOBS):
            if KNOBS[path].fixed:
                raise self.fail(f"{key}.{path}", "stays the same for a whole run")
        table: Mapping[str, Any] = value
        return table

    def word(self, value: Any, path: str) -> Word:
        options = CHOICES[path].options
        if isinstance(value, Mapping):
            self.table(value, path, options)
            sizes = [self.plain(v, f"{path}.{w}", 0, 1e9, "") for w, v in value.items()]
            total = sum(sizes)
            if not total > 0:
                raise self.fail(path, "shares must add up to more than 0")
            return Shares(tuple(value), tuple(float(x) for x in np.cumsum(sizes) / total))
        if value not in options:
            hint = f"{', '.join(options)}{near(str(value), options)}"
            raise self.fail(path, f"{excerpt(repr(value))} is not one of {hint}")
        return str(value)

    def forced(self, value: Any, key: str) -> ForcedEvent:
        table = self.table(value, key, ("event", "size", "duration"))
        event = table.get("event")
        if not isinstance(event, str) or event not in FORCED:
            reason = f"unknown event {excerpt(repr(event))}{near(str(event), FORCED)}"
            raise self.fail(f"{key}.event", reason)
        rules = FORCED[event]
        duration_s = self.seconds(table.get("duration", rules.duration_s), f"{key}.duration")
        return ForcedEvent(
            event,
            self.plain(
                table.get("size", rules.size),
                f"{key}.size",
                rules.size_low,
                rules.size_high,
                rules.size_unit,
            ),
            self.plain(
                duration_s, f"{key}.duration", rules.duration_low_s, rules.duration_high_s, "s"
            ),
        )

    def change(self, value: Any, key: str) -> Change:
        table = self.table(value, key, ("t", "ramp", "chance", "set", "scale", "force", "phase"))
        if "t" not in table:
            raise self.fail(f"{key}.t", "missing: when does it happen?")
        t = table["t"]
        goals = self.changes(table.get("set", {}), f"{key}.set")
        scale = self.changes(table.get("scale", {}), f"{key}.scale")
        return Change(
            t_s=self.number(t, f"{key}.t", 0, 366 * 86400, "s")
            if isinstance(t, Mapping)
            else self.seconds(t, f"{key}.t"),
            ramp_s=self.seconds(table.get("ramp", 0), f"{key}.ramp"),
            chance=self.plain(table.get("chance", 1), f"{key}.chance", 0, 1, ""),
            set={
                path: self.number(v, f"{key}.set.{path}", *KNOBS[path][1:3], KNOBS[path].unit)
                for path, v in goals.items()
            },
            scale={p: self.number(v, f"{key}.scale.{p}", 0, 100, "") for p, v in scale.items()},
            force=self.forced(table["force"], f"{key}.force") if "force" in table else None,
            phase=self.text(table.get("phase", ""), f"{key}.phase"),
        )

    def text(self, value: Any, key: str) -> str:
        if not isinstance(value, str):
            raise self.fail(key, f"expected a string, got {excerpt(repr(value))}")
        return value

    def fault(self, value: Any, key: str) -> Fault:
        if not isinstance(value, Mapping):
            raise self.fail(key, f"expected a table, got {excerpt(repr(value))}")
        if "direction" in value:
            raise self.fail(f"{key}.direction", "a sensor's faults are in what it sends")
        try:
            return read_fault(value)
        except FaultError as error:
            raise self.fail(f"{key}.{error.key}", error.reason) from None

    def tables(self, document: Mapping[str, Any], key: str) -> list[Any]:
        listed = document.get(key, [])
        if not isinstance(listed, list):
            raise self.fail(key, f"expected [[{key}]], a list of tables")
        return listed


LISTS = ("at", "fault")
"""Sections that are lists of tables; a scenario adds its own to those of what it extends."""
SECTIONS = tuple(dict.fromkeys(path.split(".")[0] for path in (*KNOBS, *CHOICES)))
META = ("title", "patients", "extends", "duration", "ga_weeks")


def _merged(name: str, load: Callable[[str], str], depth: int = 0) -> dict[str, Any]:
    """Return a document on top of what it extends; timelines and faults are joined."""
    document, reader = read_toml(load(name), name), _Reader(name)
    meta = reader.table(document.get("meta", {}), "meta", META)
    for key in LISTS:
        reader.tables(document, key)
    if "extends" not in meta:
        return document
    if depth == MAX_EXTENDS:
        raise reader.fail("meta.extends", "extends itself, or too deep")
    parent = _merged(reader.text(meta["extends"], "meta.extends"), load, depth + 1)
    return _onto(parent, document)


def _onto(parent: dict[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Put a document on top of *parent*, which is changed and returned."""
    for section, content in document.items():
        if isinstance(content, Mapping) and isinstance(parent.get(section), Mapping):
            parent[section] = {**parent[section], **content}
        elif section in LISTS:
            parent[section] = [*parent.get(section, []), *content]
        else:
            parent[section] = content
    return parent


def read_toml(text: str, name: str) -> dict[str, Any]:
    """Return the document in *text*, or raise ScenarioError with the line."""
    try:
        return toml.parse(text, name)
    except ConfigError as error:
        key = error.where.removeprefix(name).removeprefix(", ")
        raise ScenarioError(name, key, error.reason) from None


def parse_scenario(name: str, load: Callable[[str], str]) -> Scenario:
    """Read and check a scenario.

    Parameters
    ----------
    name : str
        Its name; becomes its ``id``.
    load : callable
        Returns the TOML text of a scenario's name; called for *name*, for what it extends and
        for what it mixes.

    Returns
    -------
    Scenario

    Raises
    ------
    ScenarioError
        An unknown key or a value out of range, with its path.
    """
    return _parsed(name, _merged(name, load), load)


def _parsed(name: str, document: Mapping[str, Any], load: Callable[[str], str]) -> Scenario:
    reader = _Reader(name)
    reader.table(document, "", ("meta", "mix", *LISTS, *SECTIONS))
    meta = reader.table(document.get("meta", {}), "meta", META)
    numbers: dict[str, Number] = {path: float(k.default) for path, k in KNOBS.items()}
    words: dict[str, Word] = {path: choice.default for path, choice in CHOICES.items()}
    for section in SECTIONS:
        known = [p.partition(".")[2] for p in (*KNOBS, *CHOICES) if p.startswith(section + ".")]
        for key, value in reader.table(document.get(section, {}), section, known).items():
            path = f"{section}.{key}"
            if path in CHOICES:
                words[path] = reader.word(value, path)
            else:
                knob = KNOBS[path]
                numbers[path] = reader.number(value, path, knob.low, knob.high, knob.unit)
    changes, faults = (reader.tables(document, key) for key in LISTS)
    return Scenario(
        id=name,
        title=reader.text(meta.get("title", ""), "meta.title"),
        patients=reader.text(meta.get("patients", ""), "meta.patients"),
        duration_s=reader.seconds(meta.get("duration", "60min"), "meta.duration"),
        ga_weeks=reader.plain(meta.get("ga_weeks", 39.5), "meta.ga_weeks", 20, 44, "weeks"),
        numbers=numbers,
        words=words,
        timeline=tuple(reader.change(c, f"at[{i}]") for i, c in enumerate(changes)),
        faults=tuple(reader.fault(f, f"fault[{i}]") for i, f in enumerate(faults)),
        mix=_mix(reader, document, load),
    )


def _mix(
    reader: _Reader, document: Mapping[str, Any], load: Callable[[str], str]
) -> tuple[tuple[float, Scenario], ...]:
    """Read ``[mix]``: scenario name = share; what else is set holds for each of them."""
    table = document.get("mix", {})
    if not isinstance(table, Mapping):
        raise reader.fail("mix", f"expected a table of scenario = share, got {table!r}")
    shares = [reader.plain(v, f"mix.{n}", 0, 1e9, "") for n, v in table.items()]
    total = sum(shares)
    if shares and not total > 0:
        raise reader.fail("mix", "shares must add up to more than 0")
    over = {section: document[section] for section in (*LISTS, *SECTIONS) if section in document}
    if "ga_weeks" in document.get("meta", {}):
        over["meta"] = {"ga_weeks": document["meta"]["ga_weeks"]}
    parts, so_far = [], 0.0
    for name, share in zip(table, shares, strict=True):
        if name == reader.scenario:
            raise reader.fail(f"mix.{name}", "mixes itself")
        part = _merged(name, load)
        if "mix" in part:
            raise reader.fail(f"mix.{name}", "is itself a mix")
        so_far += share / total
        parts.append((so_far, _parsed(name, _onto(part, over), load)))
    return tuple(parts)
