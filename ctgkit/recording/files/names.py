"""The names that channels go by, in every format: one table, in any case, with or without units.

This module performs no I/O.
"""

import re
from typing import Final, Literal, NamedTuple

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
    " сердцебиениеплода чсспл fhrsignal fetaleherzfrequenz fetalpulse ритмплода"
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
    "": "t time elapsed elapsedtime timefromstart relativetime время zeit temps uhrzeit heure hora"
    " tijd czas"
    " timestamp datetime"
    " dateandtime timeofday clock clocktime unix unixtime epoch epochtime датавремя дата_и_время"
    " датаивремя utc createdat storedat",
}
_DATES = "date дата datum fecha"
_NUMBERS = (
    "index idx sample samples sampleno samplenumber sampleindex n no nr num number row rowno frame"
    " i unnamed unnamed0 номер № id"
)
_SENSORS = "sensor sensorid sensoruuid uuid device deviceid record recordid case caseid patient"
_SENSORS += " patientid patientno patientnumber subject subjectid examinationid examid filename"
_SENSORS += " bed bedid bedno bednumber койка пациент пациентка"

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
    "bpm": "bpm", "b/min": "bpm", "beats/min": "bpm",
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
_PER_MINUTE = re.compile(r"1?\s?/\s?(?:min|мин)\.?|(?:min|мин)(?:\^?-1|⁻¹)")
"""Beats in a minute as physicists write it: its 1 is the number of no fetus."""
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
    if bare := re.search(rf"[\s_]+({_PER_MINUTE.pattern})$", text):
        text, unit = text[: bare.start()], unit or "bpm"
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
        named = _NAMING & set(re.findall(r"\w+", inner)) and not _PER_MINUTE.fullmatch(inner)
        if named and unit_of(inner) != "clock":
            text = re.sub(r"[(\[]" + re.escape(found) + r"[)\]]", f" {inner} ", text)
        else:
            unit = unit or unit_of(inner)
            text = re.sub(r"[(\[]" + re.escape(found) + r"[)\]]", " ", text)
    return text.strip(), unit


def unit_of(text: str) -> str:
    """Return a unit in one spelling; empty when there is none, the text itself when unknown.

    >>> unit_of(" уд/мин "), unit_of("NU"), unit_of("[hh:mm:ss.mmm]")
    ('bpm', 'nu', 'clock')
    """
    plain = re.sub(r"\s", "", text.strip(" '\"()[]{}").lower())
    if _PER_MINUTE.fullmatch(plain):
        return "bpm"
    if _CLOCK_UNIT.match(plain):
        return "clock"
    return _UNITS.get(plain, plain)


def known_units() -> frozenset[str]:
    """Return the units that are known, in one spelling."""
    return frozenset(_UNITS.values()) | {"clock"}
