"""How faults are written: one schema for the command line, for TOML, for help and documentation.

On the command line ``drop:rate=0.01`` or ``partition:at=60,for=10``, in TOML::

    [[fault]]
    kind = "partition"
    at = 60
    for = 10

This module performs no I/O.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from inspect import getdoc
from typing import Any

from ctgkit.errors import excerpt, near
from ctgkit.faults.fault import Fault, MessageFault, NetworkFault
from ctgkit.faults.messages import (
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    Reorder,
    StaleTime,
    Truncate,
    WrongId,
    WrongType,
)
from ctgkit.faults.network import (
    Bandwidth,
    HalfOpen,
    HandshakeFailure,
    Latency,
    Partition,
    Reset,
    SlowClose,
)
from ctgkit.faults.parameters import Parameter
from ctgkit.faults.schedule import When
from ctgkit.quantities import number_of

KINDS: dict[str, type[Fault]] = {
    fault.kind: fault
    for fault in (
        Drop, Duplicate, Reorder, Delay, Corrupt, Truncate, WrongType, StaleTime, WrongId,
        Latency, Bandwidth, Reset, HalfOpen, SlowClose, HandshakeFailure, Partition,
    )
}  # fmt: skip
"""Kind -> class, in the order in which they are listed."""


class FaultError(ValueError):
    """A fault is written wrongly at *key*."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key, self.reason = key, reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}" if self.key else self.reason


def _fields_of(cls: type) -> dict[str, tuple[str, Parameter]]:
    """Return the name of each parameter -> field, what is known about it."""
    found = {}
    for each in fields(cls):
        if "parameter" in each.metadata:
            parameter: Parameter = each.metadata["parameter"]
            found[parameter.name] = (each.name, parameter)
    return found


_WHEN = _fields_of(When)


def _checked(parameter: Parameter, value: Any) -> float | str:
    if parameter.words:
        if value not in parameter.words:
            hint = near(str(value), parameter.words)
            reason = f"{excerpt(repr(value))} is not one of {', '.join(parameter.words)}{hint}"
            raise FaultError(parameter.name, reason)
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FaultError(parameter.name, f"expected a number, got {excerpt(repr(value))}")
    if parameter.whole and value != int(value):
        raise FaultError(parameter.name, f"{value:g} is not a whole number")
    if not parameter.low <= value <= parameter.high:
        span = f"{parameter.low:.10g} to {parameter.high:.10g} {parameter.unit}".rstrip()
        raise FaultError(parameter.name, f"{value:.10g} is outside {span}")
    return int(value) if parameter.whole else float(value)


def read_fault(table: Mapping[str, Any]) -> Fault:
    """Read a fault from a TOML table: ``kind`` and its parameters.

    Raises
    ------
    FaultError
        Naming the parameter and, for a misspelt one, the nearest.
    """
    kind = table.get("kind")
    if kind is None:
        raise FaultError("kind", f"missing: one of {', '.join(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise FaultError("kind", f"unknown fault {excerpt(repr(kind))}{near(str(kind), KINDS)}")
    cls = KINDS[kind]
    own = _fields_of(cls)
    settings: dict[str, Any] = {}
    schedule: dict[str, Any] = {}
    for name, value in table.items():
        if name == "kind":
            continue
        if name not in own and name not in _WHEN:
            known = [*own, *_WHEN]
            hint = near(name, known) or f"; {kind} has {', '.join(known)}"
            raise FaultError(excerpt(name), f"unknown parameter{hint}")
        field, parameter = own.get(name) or _WHEN[name]
        (settings if name in own else schedule)[field] = _checked(parameter, value)
    when = When(**schedule)
    if when.at_s is not None and ("from" in table or "to" in table):
        raise FaultError("at", "is a single moment: omit from and to")
    if when.to_s is not None and not when.from_s < when.to_s:
        raise FaultError("to", f"{when.to_s:g} is not after from, {when.from_s:g}")
    return cls(when=when, **settings)


def fault_as_dict(fault: Fault) -> dict[str, Any]:
    """Return a fault as :func:`read_fault` reads it, without what is as by default.

    >>> fault_as_dict(parse_fault("delay:by=3,jitter=0,rate=0.5"))
    {'kind': 'delay', 'by': 3.0, 'rate': 0.5}
    """
    found: dict[str, Any] = {"kind": fault.kind}
    for owner in (fault, fault.when):
        for name, (attribute, parameter) in _fields_of(type(owner)).items():
            value = getattr(owner, attribute)
            if value != parameter.default:
                found[name] = value
    return found


def parse_fault(text: str) -> Fault:
    """Read a fault from the command line: ``KIND`` or ``KIND:NAME=VALUE,…``.

    Raises
    ------
    FaultError
        Naming the parameter and, for a misspelt one, the nearest.

    Examples
    --------
    >>> parse_fault("partition:at=60,for=10").for_s
    10.0
    """
    kind, _, rest = text.partition(":")
    table: dict[str, Any] = {"kind": kind.strip()}
    for part in rest.split(",") if rest else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise FaultError(excerpt(name), "expected NAME=VALUE")
        if name in table:
            raise FaultError(name, "given twice")
        try:
            table[name] = number_of(value)
        except ValueError:
            table[name] = value
    return read_fault(table)


def meaning_of(cls: type[Fault]) -> str:
    """Return what a fault does, in one sentence."""
    return (getdoc(cls) or "").partition("\n")[0]


def own_parameters(cls: type[Fault]) -> list[Parameter]:
    """Return what can be set of a fault beside its schedule and direction."""
    return [p for name, (_, p) in _fields_of(cls).items() if name not in COMMON]


COMMON: dict[str, Parameter] = {
    name: parameter for name, (_, parameter) in (_WHEN | _fields_of(Fault)).items()
}
"""What every fault has: its schedule and direction."""


def _range(parameter: Parameter) -> str:
    if parameter.words:
        return ", ".join(parameter.words)
    return f"{parameter.low:.10g} to {parameter.high:.10g} {parameter.unit}".rstrip()


def _default(parameter: Parameter) -> str:
    if parameter.default is None:
        return "–"
    value = parameter.default
    return value if isinstance(value, str) else f"{value:g}"


def listing() -> Iterator[str]:
    """Yield the lines of ``ctgkit proxy --list``."""
    for title, base in (("messages", MessageFault), ("the network", NetworkFault)):
        yield f"Faults of {title}:"
        for kind, cls in KINDS.items():
            if issubclass(cls, base):
                yield f"  {kind:<19}{meaning_of(cls)}"
                yield from (_line(p) for p in own_parameters(cls))
    yield "All of them:"
    yield from (_line(p) for p in COMMON.values())


def _line(p: Parameter) -> str:
    return f"    {p.name + '=' + _default(p):<17}{p.meaning} ({_range(p)})"


def tables() -> str:
    """Return the reference of docs/faults.md, in Markdown."""
    lines = []
    for title, base in (("Messages", MessageFault), ("Network", NetworkFault)):
        lines += [
            f"### {title}",
            "",
            "| fault | what | parameters (default; range) |",
            "|---|---|---|",
        ]
        for kind, cls in KINDS.items():
            if issubclass(cls, base):
                own = "; ".join(
                    f"`{p.name}` ({_default(p)}; {_range(p)}) {p.meaning}"
                    for p in own_parameters(cls)
                )
                lines.append(f"| `{kind}` | {meaning_of(cls)} | {own} |")
        lines.append("")
    lines += ["### All of them", "", "| parameter | default | range | what |", "|---|---|---|---|"]
    lines += [
        f"| `{p.name}` | {_default(p)} | {_range(p)} | {p.meaning} |" for p in COMMON.values()
    ]
    return "\n".join(lines)
