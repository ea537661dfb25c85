"""The names that channels go by, in every format: one table, in any case, with or without units.

This module performs no I/O.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from ctgkit.errors import excerpt
from ctgkit.recording.files.options import ReadOptions, Report

Role = Literal[
    "",
    "time",
    "date",
    "number",
    "fhr",
    "mother",
    "toco",
    "spasms",
    "sensor",
    "remark",
    "value",
    "simulated",
]

_FETAL = (
    "fhr bpm bpmchild childbpm fetalheartrate fetalhr foetalheartrate fetalheart fetalbpm fetal"
    " foetal babyhr babyheartrate fhf rcf fcf cardiotachogram чссплода пульсплода"
    " сердцебиениеплода чсспл fhrsignal"
)
_BY_SOURCE = "us ultrasound doppler ecg fecg decg scalp fse узи"
_ANY_HEART = "hr heartrate heart herzfrequenz чсс пульс"
_MOTHER = (
    "mhr mecg maternal mother maternalhr maternalheartrate motherhr motherheartrate mbpm pulse"
    " maternalpulse mpulse чссматери пульсматери чссм spo2 mspo2"
)
_TOCO = (
    "uterus toco uc ua toko tocogram tocodynamometer uterine uterineactivity uterinecontraction"
    " uterinecontractions contraction contractions uterustone tone tonus wehen wehentätigkeit"
    " тонус тонусматки матка токо токограмма маточнаяактивность сокращения сокращенияматки"
)
_PRESSURE = "iup iupc iupm iuptransducer intrauterinepressure uterinepressure вмд"
_SPASMS = "spasms spasm схватки contractionintensity"
_TIMES = {  # name -> unit; the first found is preferred
    "s": "secfromstart sec secs second seconds s timesec сек секунда секунды с",
    "ms": "ms msec msecs millisecond milliseconds мс",
    "min": "min mins minute minutes мин минуты",
    "h": "h hour hours час часы",
    "": "t time elapsed elapsedtime timefromstart relativetime время zeit temps timestamp datetime"
    " dateandtime timeofday clock clocktime unix unixtime epoch epochtime датавремя дата_и_время"
    " датаивремя utc createdat storedat",
}
_DATES = "date дата datum"
_NUMBERS = (
    "index idx sample samples sampleno samplenumber sampleindex n no nr num number row rowno frame"
    " i unnamed unnamed0 номер № id"
)
_SENSORS = "sensor sensorid sensoruuid uuid device deviceid record recordid case caseid patient"
_SENSORS += " patientid subject subjectid examinationid examid filename"

_ROLES: dict[str, tuple[Role, int]] = {}
"""Name without spaces and signs -> role, and how sure it is: less is surer."""
for _names, _role, _rank in (
    (_FETAL, "fhr", 0), (_BY_SOURCE, "fhr", 1), (_ANY_HEART, "fhr", 2), (_MOTHER, "mother", 0),
    (_TOCO, "toco", 0), (_PRESSURE, "toco", 1), (_SPASMS, "spasms", 0), (_DATES, "date", 0),
    (_NUMBERS, "number", 0), (_SENSORS, "sensor", 0), ("remark", "remark", 0),
    ("value", "value", 0),
):  # fmt: skip
    _ROLES |= dict.fromkeys(_names.split(), (_role, _rank))  # type: ignore[arg-type]
_TIME_UNITS = {name: unit for unit, names in _TIMES.items() for name in names.split()}
_ROLES |= {name: ("time", number) for number, name in enumerate(_TIME_UNITS)}

_UNITS: Final[dict[str, str]] = {
    "bpm": "bpm", "1/min": "bpm", "/min": "bpm", "min-1": "bpm", "b/min": "bpm", "beats/min": "bpm",
    "beatsperminute": "bpm", "beatsperminut": "bpm", "уд/мин": "bpm", "удмин": "bpm",
    "уд.вмин": "bpm", "уд.вмин.": "bpm", "уд./мин": "bpm", "уд./мин.": "bpm",
    "mmhg": "mmHg", "ммрт.ст.": "mmHg", "ммрт.ст": "mmHg", "ммртст": "mmHg", "kpa": "kPa",
    "кпа": "kPa", "%": "%", "pct": "%", "percent": "%", "units": "", "unit": "", "nd": "",
    "au": "", "a.u.": "", "rel": "", "отн.ед.": "", "ед.": "", "-": "", "none": "",
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "с": "s", "сек": "s",
    "сек.": "s", "ms": "ms", "msec": "ms", "мс": "ms", "millisecond": "ms", "milliseconds": "ms",
    "us": "us", "µs": "us", "ns": "ns", "min": "min", "minute": "min", "minutes": "min",
    "мин": "min", "мин.": "min", "h": "h", "hour": "h", "hours": "h", "hr": "h", "ч": "h",
    "hz": "Hz", "гц": "Hz", "mv": "mV", "мв": "mV", "uv": "uV", "µv": "uV", "v": "V",
    "samples": "samples", "sample": "samples",
}  # fmt: skip
_CLOCK_UNIT = re.compile(r"h{1,2}:?mm|m{1,2}:ss|чч:мм|hh:mm:ss\S*|time/date", re.IGNORECASE)
_SOURCES = frozenset(_BY_SOURCE.split())
_DERIVED_NAMES = (
    "baseline mean avg average std sd var variability stv ltv accel accelerations decel"
    " decelerations quality class label prediction probability risk loss gap missing valid flag"
    " базальная базальный вариабельность mode median max min score count"
)
_DERIVED = frozenset(_DERIVED_NAMES.split())
"""A name with one of these is something computed, not a channel."""
_MOTHER_WORDS = "m mat mother maternal матери мать"
_OF_MOTHER = frozenset(_MOTHER_WORDS.split())
_NAMING = _SOURCES | _OF_MOTHER | {"1", "2", "3", "a", "b", "fetus", "fetal", "twin", "плода"}
"""Words in brackets that are no unit."""
_FILLER_NAMES = "twin fetus signal channel ch raw value values data ctg trace kanal канал rate"
_FILLERS = frozenset(_FILLER_NAMES.split())
_FETUS = {"1": 1, "2": 2, "3": 3, "a": 1, "b": 2, "c": 3, "i": 1, "ii": 2, "iii": 3}
HEART_UNITS = frozenset(("", "bpm", "samples"))
TOCO_UNITS = frozenset(("", "mmHg", "%", "bpm", "samples"))


class Channel(NamedTuple):
    """What a name means."""

    role: Role
    rank: int = 0
    """How sure it is: less is surer."""
    fetus: int = 0
    """Which of several, from 1; 0 when the name doesn't number it."""
    source: str = ""
    """Of a heart rate: ultrasound or electrode, where the name says so."""
    unit: str = ""


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


def channel_of(name: str, unit: str = "") -> Channel:
    """Return what a column, signal or array is, by its name and, where it has one, its unit.

    >>> channel_of("FHR (bpm)"), channel_of("Time (s)").unit, channel_of("FHR2").fetus
    (Channel(role='fhr', rank=0, fetus=0, source='', unit='bpm'), 's', 2)
    """
    text = name.strip(" \t'\"\ufeff").lower()
    if text.startswith("simulated by ") or text == "simulated":
        return Channel("simulated")
    text, bracketed = _without_brackets(text)
    unit = unit_of(unit) if unit else bracketed
    if "," in text:
        head, _, tail = text.rpartition(",")
        if (known := unit_of(tail)) or tail.strip() in _UNITS:
            text, unit = head, unit or known
    words = re.findall(r"[^\W\d_]+|\d+|№", text)
    if not words:
        return Channel("number" if not text else "")
    if "".join(words) in _ROLES:
        return _channel(words, unit)
    if (last := words[-1]) in _UNITS and last not in _SOURCES and len(words) > 1:
        found = _channel(words[:-1], unit or _UNITS[last])
        if found.role:
            return found
    return _channel(words, unit)


def _channel(words: list[str], unit: str) -> Channel:
    role, rank = _ROLES.get("".join(words), ("", 0))
    if role:
        known = _TIME_UNITS.get("".join(words), "") if role == "time" else ""
        source = words[0] if role == "fhr" and words[0] in _SOURCES else ""
        return Channel(role, rank, 0, source, unit or known)
    if _DERIVED & set(words):
        return Channel("")
    fetus, source, rest = _parts(words)
    role, rank = _ROLES.get("".join(rest), ("", 0))
    if not rest and source:
        role, rank = "fhr", 1
    if not role and len(rest) > 1:  # data.BPMChild, ctg/FHR
        role, rank = _ROLES.get(rest[-1], ("", 0))
        rank += 1  # less sure than a name without more words
    if role == "fhr" and _OF_MOTHER & set(words):
        role = "mother"
    if role not in ("fhr", "toco", "spasms", "mother"):
        return Channel("")
    return Channel(role, rank, fetus, source if role == "fhr" else "", unit)


def _parts(words: list[str]) -> tuple[int, str, list[str]]:
    """Return which fetus a name numbers, which probe it names, and the words that remain."""
    fetus, source = 0, ""
    rest: list[str] = []
    for word in words:
        if word in _FETUS:
            fetus = fetus or _FETUS[word]
        elif word in _SOURCES:
            source = source or word
        elif word not in _FILLERS and not (word.isdecimal() and rest):
            rest.append(word)
    return fetus, source, rest


def _without_brackets(text: str) -> tuple[str, str]:
    """Return a name without the unit in brackets, and that unit; what is no unit stays."""
    unit = ""
    for found in re.findall(r"[(\[]([^)\]]*)[)\]]", text):
        inner = found.strip()
        if unit_of(inner) != "clock" and (_NAMING & set(re.findall(r"\w+", inner))):
            text = re.sub(r"[(\[]" + re.escape(found) + r"[)\]]", f" {inner} ", text)
        else:
            unit = unit or unit_of(inner)
            text = re.sub(r"[(\[]" + re.escape(found) + r"[)\]]", " ", text)
    return text.strip(), unit


def unit_of(text: str) -> str:
    """Return a unit in one spelling; empty when there is none, the text itself when unknown.

    >>> unit_of(" уд/мин "), unit_of("NU"), unit_of("hh:mm:ss.mmm")
    ('bpm', 'nu', 'clock')
    """
    plain = re.sub(r"\s", "", text.strip(" '\"").lower())
    if _CLOCK_UNIT.match(plain):
        return "clock"
    return _UNITS.get(plain, plain)


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
    for fetus, probes in sorted(hearts.items()):
        label = "heart rate" if len(hearts) == 1 else f"heart rate {fetus}"
        report.take(label, " and ".join(quoted(names[n]) for n in probes))
    for label, n in (("toco", toco), ("contraction intensity", spasms)):
        if n is not None:
            report.take(label, quoted(names[n]))
    used = taken | {spasms, time, date, number, remark, simulated, *sensors}
    for n, name in enumerate(names):
        if n not in used:
            report.leave(_left(name, found[n]))
    return Chosen(hearts, toco, spasms, time, date, number, sensors, remark, simulated, unit)


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
            raise NotFound(f"{what}s {both} mean the same: choose with --fhr")
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
        raise NotFound(f"{what}s {both} mean the same: choose with --toco")
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
    return f"no {what} named like a fetal heart rate; " + "; ".join(
        [*wrong, listing(names, what), "choose with --fhr"]
    )


def _no_time(names: Sequence[str], number: int | None, what: str) -> str:
    if number is not None:
        name = names[number] or "1"
        return f"{what} {quoted(name)} numbers the samples: --rate says how many are in a second"
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
    return quoted(name) + reason


def known_units() -> frozenset[str]:
    """Return the units that are known, in one spelling."""
    return frozenset(_UNITS.values()) | {"clock"}
