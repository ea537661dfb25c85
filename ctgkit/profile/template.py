"""Templates of profiles: trees for JSON, texts for everything else. Pure; compiled once.

A string that is exactly ``"{fhr}"`` becomes the value itself, so that JSON is valid by
construction; ``"{fhr[]}"`` becomes the list of a batch's values; any other string is a text with
fields, ``"bed-{id}"``, ``"{t:.2f}"``. A brace is written twice to be taken as itself.
"""

import string
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ctgkit.errors import near

Getter = Callable[[Any], Any]
"""Scope -> value of one variable; :data:`SKIP` where it is to be left out."""


class _Skip:
    def __repr__(self) -> str:
        return "SKIP"


READINGS = ("fhr", "toco", "spasms", "value", "mother", "fhr2")
"""Variables that may be gaps."""

SKIP = _Skip()
"""A value that is left out: its member, its element, or the text it stands in."""


class TemplateError(ValueError):
    """A template is wrong; the text says where and why."""


class Variables(NamedTuple):
    """What templates may name."""

    scalars: Mapping[str, Getter]
    lists: Mapping[str, Getter] = {}


def compile_tree(tree: Any, variables: Variables, where: str) -> Getter:
    """Return a function scope -> plain data for JSON.

    Raises
    ------
    TemplateError
        When a variable is unknown or a text cannot be read.
    """
    match tree:
        case dict():
            return _table(
                {
                    key: compile_tree(value, variables, f"{where}.{key}")
                    if isinstance(value, dict | list | str)
                    else Constant(value)
                    for key, value in tree.items()
                }
            )
        case list():
            elements = [
                compile_tree(value, variables, f"{where}[{n}]") for n, value in enumerate(tree)
            ]
            return lambda scope: [v for get in elements if (v := get(scope)) is not SKIP]
        case str():
            return _string(tree, variables, where)
        case _:
            return Constant(tree)


class Constant:
    """A value that is the same in every message."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, _scope: Any) -> Any:
        """Return the value."""
        return self.value


def _table(members: dict[str, Getter]) -> Getter:
    """Return a function scope -> table, which copies what never changes."""
    frame = {k: get.value if isinstance(get, Constant) else None for k, get in members.items()}
    changing = [(k, get) for k, get in members.items() if not isinstance(get, Constant)]
    if not changing:
        return Constant(frame)

    def table(scope: Any) -> dict[str, Any]:
        made = frame.copy()
        lacks = False
        for key, get in changing:
            made[key] = value = get(scope)
            if value is SKIP:
                lacks = True
        return {k: v for k, v in made.items() if v is not SKIP} if lacks else made

    return table


def compile_text(text: str, variables: Variables, where: str) -> Getter:
    """Return a function scope -> text, or SKIP when a value in it is to be left out.

    Raises
    ------
    TemplateError
        When a variable is unknown or the text cannot be read.
    """
    parts: list[str | tuple[Getter, str, str]] = []
    for literal, name, spec, conversion in _fields(text, where):
        if literal:
            parts.append(literal)
        if name is not None:
            if conversion:
                raise TemplateError(f"{where}: {{{name}!{conversion}}} is not supported")
            if name.endswith("[]"):
                raise TemplateError(f"{where}: {{{name}}} must stand alone, not inside text")
            parts.append((_scalar(name, variables, where), spec or "", name))
    if all(isinstance(part, str) for part in parts):
        whole = "".join(part for part in parts if isinstance(part, str))
        return Constant(whole)

    def render(scope: Any) -> Any:
        shown = []
        for part in parts:
            if isinstance(part, str):
                shown.append(part)
                continue
            value = part[0](scope)
            if value is SKIP:
                return SKIP
            try:
                shown.append(_formatted(value, part[1], is_reading=part[2] in READINGS))
            except (ValueError, TypeError) as error:
                raise TemplateError(f"{where}: {{{part[2]}:{part[1]}}}: {error}") from error
        return "".join(shown)

    return render


def _formatted(value: Any, spec: str, *, is_reading: bool) -> str:
    if value is None:
        return "null"
    if is_reading and isinstance(value, str):
        return value  # the word for a gap has no decimals
    return format(value, spec)


def _fields(text: str, where: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(string.Formatter().parse(text))
    except ValueError as error:
        raise TemplateError(f"{where}: {error} in {text!r}") from error


def is_variable(text: str, where: str) -> str | None:
    """Return the name of the one variable that a text is, with ``[]`` for a list; None otherwise.

    >>> is_variable("{fhr}", ""), is_variable("bed-{id}", "")
    ('fhr', None)
    """
    fields = _fields(text, where)
    if len(fields) != 1 or fields[0][0] or not fields[0][1] or fields[0][2] or fields[0][3]:
        return None
    return fields[0][1]


def _string(text: str, variables: Variables, where: str) -> Getter:
    name = is_variable(text, where)
    if name is None:
        return compile_text(text, variables, where)
    if name.endswith("[]"):
        return _known(name[:-2], variables.lists, where, "[]")
    if name in variables.lists and name not in variables.scalars:
        return variables.lists[name]
    return _scalar(name, variables, where)


def _scalar(name: str, variables: Variables, where: str) -> Getter:
    return _known(name, variables.scalars, where, "")


def _known(name: str, getters: Mapping[str, Getter], where: str, suffix: str) -> Getter:
    if name not in getters:
        raise TemplateError(f"{where}: unknown variable {{{name}{suffix}}}{_hint(name, getters)}")
    return getters[name]


def _hint(name: str, known: Collection[str]) -> str:
    return near(name, known) or f"; known are {', '.join(sorted(known))}"
