"""Which of a file's columns or signals are read: chosen by what their names mean.

This module performs no I/O.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ctgkit.errors import excerpt
from ctgkit.recording.files.names import (
    HEART_UNITS,
    TOCO_UNITS,
    Channel,
    Role,
    channel_of,
)
from ctgkit.recording.files.options import ReadOptions, Report


class Chosen(NamedTuple):
    """Which of a file's channels are read, as indices of its names."""

    hearts: dict[int, list[int]]
    """Fetus -> its heart rate; several where several probes measured it."""
    toco: int | None
    spasms: int | None
    time: int | None
    date: int | None
    number: int | None
    sensors: list[int]
    remark: int | None
    simulated: int | None
    time_unit: str
    """``s``, ``ms``, ``min``, ``h``; empty when nothing says it."""


class NotFound(ValueError):
    """The file has no channel that is needed, or more than one; the text lists what it has."""

    weight = 0
    """How much the names look like names: the reason for the likeliest header is shown."""


def choose(
    names: Sequence[str],
    options: ReadOptions,
    report: Report,
    units: Sequence[str] = (),
    *,
    what: str = "column",
    timed: bool = True,
) -> Chosen:
    """Choose what is read by meaning, never by position; note it, and what is left out.

    Parameters
    ----------
    names : sequence of str
        As in the file.
    options : ReadOptions
        What the user names.
    report : Report
        Gets what was taken for what, and what is not read.
    units : sequence of str
        Of each channel, where the file has them apart.
    what : str
        What the file calls its channels.
    timed : bool
        Whether times are a channel of their own.

    Raises
    ------
    NotFound
        When there is no heart rate, no time, or a choice is the user's.
    """
    pairs = zip(names, units, strict=False) if units else ((name, "") for name in names)
    found = [channel_of(name, unit) for name, unit in pairs]
    hearts = _hearts(names, found, options, what)
    toco = _toco(names, found, options, what)
    taken = {n for probes in hearts.values() for n in probes} | {toco}
    spasms = _first(found, "spasms", taken)
    number = _first(found, "number", taken)
    date, remark = _first(found, "date", taken), _first(found, "remark", taken)
    simulated = _first(found, "simulated", taken)
    sensors = [n for n, one in enumerate(found) if one.role == "sensor" and n not in taken]
    time, unit = None, ""
    if timed and options.rate_hz is None:
        time = _time(names, found, options, what, taken)
        if time is None and date is not None:
            time, date = date, None  # a date column may hold the time too
        if time is None:
            raise NotFound(_no_time(names, number, what))
        unit = found[time].unit
        report.take("time", quoted(names[time]))
    chosen = Chosen(hearts, toco, spasms, time, date, number, sensors, remark, simulated, unit)
    _report_chosen(chosen, names, report)
    if sensors:
        report.take("sensors", " and ".join(quoted(names[n]) for n in sensors))
    used = taken | {spasms, time, date, number, remark, simulated, *sensors}
    for n, name in enumerate(names):
        if n not in used:
            report.leave(_left(name, found[n]))
    return chosen


def _report_chosen(chosen: Chosen, names: Sequence[str], report: Report) -> None:
    hearts = chosen.hearts
    for fetus, probes in sorted(hearts.items()):
        label = "heart rate" if len(hearts) == 1 else f"heart rate {fetus}"
        report.take(label, " and ".join(quoted(names[n]) for n in probes))
    for label, n in (("toco", chosen.toco), ("contraction intensity", chosen.spasms)):
        if n is not None:
            report.take(label, quoted(names[n]))


def _hearts(
    names: Sequence[str], found: list[Channel], options: ReadOptions, what: str
) -> dict[int, list[int]]:
    if options.fhr:
        return {options.fetus or 1: [named(names, options.fhr, "--fhr", what)]}
    tocos = {n for n in [_named_or_none(names, options.toco)] if n is not None}
    candidates = [
        n
        for n, one in enumerate(found)
        if one.role == "fhr" and one.unit in HEART_UNITS and n not in tocos
    ]
    if not candidates:
        raise NotFound(_no_heart(names, found, what))
    surest = min(found[n].rank for n in candidates)
    if surest < 2:  # a plain HR beside an FHR is the mother's, or nobody knows whose
        candidates = [n for n in candidates if found[n].rank < 2]
    if surest == 0:
        candidates = [n for n in candidates if found[n].rank == 0]
    hearts: dict[int, list[int]] = {}
    for n in candidates:
        probes = hearts.setdefault(found[n].fetus or 1, [])
        same = [p for p in probes if found[p].source == found[n].source]
        if same:
            both = f"{quoted(names[same[0]])} and {quoted(names[n])}"
            raise NotFound(f"{what}s {both} have the same meaning: choose with --fhr")
        probes.append(n)
    return hearts


def _toco(
    names: Sequence[str], found: list[Channel], options: ReadOptions, what: str
) -> int | None:
    if options.toco:
        return named(names, options.toco, "--toco", what)
    candidates = [n for n, one in enumerate(found) if one.role == "toco" and one.unit in TOCO_UNITS]
    candidates.sort(key=lambda n: (found[n].rank, found[n].fetus))
    if len(candidates) > 1 and found[candidates[0]][1:4] == found[candidates[1]][1:4]:
        both = f"{quoted(names[candidates[0]])} and {quoted(names[candidates[1]])}"
        raise NotFound(f"{what}s {both} have the same meaning: choose with --toco")
    return candidates[0] if candidates else None


def _time(
    names: Sequence[str],
    found: list[Channel],
    options: ReadOptions,
    what: str,
    taken: set[int | None],
) -> int | None:
    if options.time:
        return named(names, options.time, "--time", what)
    times = [n for n, one in enumerate(found) if one.role == "time" and n not in taken]
    return min(times, key=lambda n: (found[n].rank, n)) if times else None


def _first(found: list[Channel], role: Role, taken: set[int | None]) -> int | None:
    return next((n for n, one in enumerate(found) if one.role == role and n not in taken), None)


def named(names: Sequence[str], wanted: str, option: str, what: str) -> int:
    """Return the index of the channel that an option names, by name or number.

    Raises
    ------
    NotFound
        When there is none.
    """
    found = _named_or_none(names, wanted)
    if found is None:
        raise NotFound(f"{option}: no {what} {excerpt(wanted)!r}; {listing(names, what)}")
    return found


def _named_or_none(names: Sequence[str], wanted: str) -> int | None:
    if not wanted:
        return None
    plain = wanted.strip().lower()
    for n, name in enumerate(names):
        if name.strip(" '\"\ufeff").lower() == plain:
            return n
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    return None


def _no_heart(names: Sequence[str], found: list[Channel], what: str) -> str:
    wrong = [
        f"{quoted(name)} is in {one.unit}, not beats/min"
        for name, one in zip(names, found, strict=True)
        if one.role == "fhr"
    ]
    return f"no {what} with the name of a fetal heart rate; " + "; ".join(
        [*wrong, listing(names, what), "choose with --fhr"]
    )


def _no_time(names: Sequence[str], number: int | None, what: str) -> str:
    if number is not None:
        name = names[number] or "1"
        return f"{what} {quoted(name)} numbers the samples: --rate says how many per second"
    return (
        f"no {what} named like a time; {listing(names, what)}; choose with --time,"
        " or --rate HZ where there is none"
    )


def listing(names: Sequence[str], what: str) -> str:
    """Return what a file has, for a message."""
    shown = ", ".join(quoted(name) for name in names[:20]) or "none"
    return f"it has the {what}s {shown}" + (" …" if len(names) > 20 else "")


def quoted(name: str) -> str:
    """Return a name for a message: short, printable, without quotes of its own."""
    return excerpt(name.strip(" '\"\ufeff")) or "(without a name)"


def _left(name: str, one: Channel) -> str:
    reason = ""
    if one.role == "mother":
        reason = " (the mother's)"
    elif one.role in ("fhr", "toco") and one.unit not in HEART_UNITS | TOCO_UNITS:
        reason = f" (in {one.unit})"
    elif one.role in ("fhr", "toco"):
        reason = f" (--{one.role} reads this one instead)"
    return quoted(name) + reason
