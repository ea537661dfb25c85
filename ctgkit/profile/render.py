"""Samples -> requests or messages, as a profile says. Pure."""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any
from urllib.parse import quote

import msgspec

from ctgkit.errors import ConfigError
from ctgkit.profile.fast import PLAIN, compile_struct
from ctgkit.profile.model import CHANNELS, Channel, File, Profile, Setup
from ctgkit.profile.session import NOTHING, UNKNOWN, Outgoing, Session
from ctgkit.profile.template import (
    SKIP,
    Constant,
    Getter,
    TemplateError,
    Variables,
    compile_text,
    compile_tree,
)
from ctgkit.samples import Sample

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BOUNDARY = "ctgkit-7d1f0c5a9b"
"""Between the parts of an upload: samples are numbers, so it never occurs in them."""
_FIELDS = {"fhr": "fhr_bpm", "toco": "uterus", "spasms": "spasms"}
_RAW = {name: attrgetter(f"sample.{field}") for name, field in _FIELDS.items()}
MINUTE_MS = 60_000
_SECONDS = tuple(f"{second:02d}" for second in range(60))
_MILLISECONDS = tuple(f".{ms:03d}Z" for ms in range(1000))
_BESIDE = re.compile(r"\{(mother|quality|fhr2)\b")
_SECOND = re.compile(r"\{fhr2\b")
_encode = msgspec.json.Encoder().encode
_PLAIN = Channel()


class Renderer:
    """A compiled profile.

    Parameters
    ----------
    profile : Profile
        What to render.
    where : str
        Named in errors.
    structs : bool
        Let the encoder write whole messages in one pass; False is the plain way, for tests.

    Raises
    ------
    ConfigError
        When a template names an unknown variable or cannot be read; the text says where.
    """

    def __init__(self, profile: Profile, where: str, *, structs: bool = True) -> None:
        self.profile, self.where = profile, where
        templates = str(msgspec.to_builtins(profile))
        self.looks_beside = bool(_BESIDE.search(templates))
        """Whether a template names what only a simulated sensor knows."""
        self.names_second = bool(_SECOND.search(templates))
        """Whether a template names the second fetus."""
        captured = {name for one in profile.setup for name in one.capture}
        self._names = captured | {f"secret.{name}" for name in profile.secrets}
        self.scalars = self._variables()
        self._leaves_out = not structs or profile.gap == "skip"
        self._plain = PLAIN | {
            name: f"m.{field}"
            for name, field in _FIELDS.items()
            if profile.gap == "null" and _is_plain(profile.channel.get(name, _PLAIN))
        }
        try:
            self._compile()
        except TemplateError as error:
            raise ConfigError(where, str(error)) from error

    def _compile(self) -> None:
        profile, known = self.profile, Variables(self.scalars)
        quoted = Variables({name: _quoted(get) for name, get in self.scalars.items()})
        self._url = compile_text(profile.url, quoted, "url")
        self._headers = [
            (name, compile_text(value, known, f"headers.{name}"))
            for name, value in profile.headers.items()
        ]
        each = None
        if profile.sample is not None:
            each = self._tree(profile.sample, known, "sample")
        if profile.per == "batch":
            known = Variables(self.scalars, self._lists(each))
        self._line = compile_text(profile.text, known, "text") if profile.text is not None else None
        self._files = {
            name: (file, compile_text(file.line, known, f"files.{name}.line"))
            for name, file in profile.files.items()
        }
        self._body = self._tree(profile.body, known, "body")
        self._content, self._kind = self._how()
        self._per, self._method = profile.per, profile.method
        self._bare = self._whole(known)
        self.channels = tuple(n for n in CHANNELS if profile.channel.get(n, _PLAIN).send)
        """Channels that are sent, with ``per = "channel"``."""
        self._setup = [
            self._compiled_setup(n, one, known, quoted) for n, one in enumerate(profile.setup)
        ]

    def _tree(self, tree: Any, known: Variables, where: str) -> Getter:
        """Compile a tree: into structs, unless something of it may be left out."""
        slow = compile_tree(tree, known, where)  # finds what is wrong
        if self._leaves_out or not isinstance(tree, dict):
            return slow
        return compile_struct(tree, known, where, self._plain)

    def _whole(self, known: Variables) -> tuple[str, Getter, str, str] | None:
        """Return address, maker of bodies, method and type where messages are nothing else."""
        profile, url = self.profile, self._url
        bare = not (self._headers or self._line or self._files or self._leaves_out)
        if not bare or profile.per != "sample" or not isinstance(url, Constant):
            return None
        body = compile_struct(profile.body, known, "body", self._plain, _encode)
        return url.value, body, profile.method, self._kind

    def _compiled_setup(
        self, number: int, setup: Setup, known: Variables, quoted: Variables
    ) -> tuple[Setup, Getter, Getter, list[tuple[str, Getter]]]:
        place = f"setup[{number}]"
        headers = [
            (name, compile_text(value, known, f"{place}.headers.{name}"))
            for name, value in setup.headers.items()
        ]
        url = compile_text(setup.url, quoted, f"{place}.url")
        return setup, url, compile_tree(setup.body, known, f"{place}.body"), headers

    # --- variables ------------------------------------------------------------------------------

    def _variables(self) -> dict[str, Getter]:
        def epoch_s(scope: Session) -> float:
            return scope.start_epoch_s + scope.sample.sec_from_start

        channels = {name: self._channel(name) for name in CHANNELS}
        names = {name: self.profile.channel.get(name, _PLAIN).name or name for name in CHANNELS}
        found: dict[str, Getter] = {
            **channels,
            "id": attrgetter("sensor_id"),
            "t": attrgetter("sample.sec_from_start"),
            "t_ms": lambda scope: round(scope.sample.sec_from_start * 1000),
            "epoch_s": epoch_s,
            "epoch_ms": lambda scope: round(epoch_s(scope) * 1000),
            "iso": _clock(),
            "seq": attrgetter("seq"),
            "signal": lambda scope: int(scope.sample.fhr_bpm is not None),
            "mother": self._channel("mother", _mother),
            "fhr2": self._channel("fhr", _second),
            "quality": _quality,
        }
        if self.profile.per == "channel":
            found["channel"] = lambda scope: names[scope.channel]
            found["value"] = lambda scope: channels[scope.channel](scope)
        found |= {name: _captured(name) for name in self._names}
        return found

    def _channel(self, name: str, raw: Getter | None = None) -> Getter:
        """Return a channel's value; with *raw*, another value by that channel's rule."""
        rule = self.profile.channel.get(name, _PLAIN)
        scale, offset, digits = rule.scale, rule.offset, rule.digits
        gap: Any = {"null": None, "skip": SKIP}.get(str(self.profile.gap), self.profile.gap)
        raw = raw or _RAW[name]
        if _is_plain(rule):
            return lambda scope: gap if (value := raw(scope)) is None else value

        def get(scope: Session) -> Any:
            value = raw(scope)
            if value is None:
                return gap
            value = value * scale + offset
            if digits is not None:
                value = round(value, digits) if digits else round(value)
            return value

        return get

    def _lists(self, each: Getter | None) -> dict[str, Getter]:
        def listed(get: Getter) -> Getter:
            def values(scope: Session) -> list[Any]:
                found, last = [], scope.sample
                for sample in scope.samples:
                    scope.sample = sample
                    found.append(get(scope))
                scope.sample = last
                if SKIP in found:
                    raise TemplateError('gap = "skip" would misalign the lists of a batch')
                return found

            return values

        lists = {name: listed(get) for name, get in self.scalars.items() if name not in self._names}
        if each is not None:
            lists["samples"] = listed(each)
        return lists

    # --- rendering ------------------------------------------------------------------------------

    def setup(self, session: Session) -> Iterator[tuple[Setup, Outgoing]]:
        """Yield the requests that come first; capture an answer before asking for the next."""
        session.samples, session.sample, scope = (), NOTHING, session
        for setup, url, body, headers in self._setup:
            try:
                content = b"" if setup.body is None else msgspec.json.encode(body(scope))
                shown = _headers(headers, scope)
                to = str(url(scope))
            except TemplateError as error:
                raise ConfigError(self.where, str(error)) from error
            yield setup, Outgoing(to, content, setup.method, shown, samples=0)

    def render(self, samples: Sequence[Sample], session: Session) -> list[Outgoing]:
        """Return the messages for some samples, in order.

        Parameters
        ----------
        samples : sequence of Sample
            With ``per = "batch"`` exactly one batch.
        session : Session
            Its ``seq`` counts on.
        """
        session.samples = samples
        made: list[Outgoing | None] = []
        one, bare = self._one, self._bare
        try:
            if bare is not None:
                url, body, method, kind = bare
                for session.sample in samples:
                    made.append(Outgoing(url, body(session), method, (), kind))
                    session.seq += 1
                return made  # type: ignore[return-value]  # none is left out
            if self._per == "batch":
                if samples:
                    session.sample = samples[-1]
                    made.append(one(session, len(samples)))
                    session.seq += 1
            else:
                for session.sample in samples:
                    if self._per == "sample":
                        made.append(one(session, 1))
                    else:
                        for session.channel in self.channels:
                            made.append(one(session, 1))
                    session.seq += 1
        except TemplateError as error:
            raise ConfigError(self.where, str(error)) from error
        return [each for each in made if each is not None]

    def _one(self, scope: Session, n_samples: int) -> Outgoing | None:
        content = self._content(scope)
        if content is SKIP:
            return None
        headers = _headers(self._headers, scope) if self._headers else ()
        url = self._url(scope)
        return Outgoing(url, content, self._method, headers, self._kind, n_samples)

    def _how(self) -> tuple[Callable[[Session], Any], str]:
        """Return what makes the content of a message, and its type."""
        line, body, value = self._line, self._body, self.scalars.get("value")
        if line is not None:

            def text(scope: Session) -> Any:
                made = line(scope)
                return SKIP if made is SKIP else made.encode()

            return text, "text/plain; charset=utf-8"
        if self._files:
            return self._upload, f"multipart/form-data; boundary={BOUNDARY}"
        if value is None:
            return (lambda scope: _encode(body(scope))), "application/json"
        return (
            lambda scope: SKIP if value(scope) is SKIP else _encode(body(scope))
        ), "application/json"

    def _upload(self, scope: Session) -> bytes:
        parts = []
        for name, (file, line) in self._files.items():
            rows = _rows(file, line, scope)
            disposition = f"form-data; name={json.dumps(name)}; filename={json.dumps(file.name)}"
            parts.append(
                f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n"
                f"Content-Type: text/csv\r\n\r\n{rows}\r\n"
            )
        return ("".join(parts) + f"--{BOUNDARY}--\r\n").encode()


def _mother(scope: Session) -> float | None:
    bpm = scope.beside.get(scope.sample.sec_from_start, UNKNOWN).mother_bpm
    return None if math.isnan(bpm) else round(bpm * 4) / 4


def _second(scope: Session) -> float | None:
    bpm = scope.beside.get(scope.sample.sec_from_start, UNKNOWN).second_bpm
    return None if math.isnan(bpm) else bpm


def _quality(scope: Session) -> int:
    known = scope.beside.get(scope.sample.sec_from_start, UNKNOWN).quality
    return known if known >= 0 else 2 * int(scope.sample.fhr_bpm is not None)


def _is_plain(rule: Channel) -> bool:
    return rule.scale == 1.0 and rule.offset == 0.0 and rule.digits is None


def _headers(headers: list[tuple[str, Getter]], scope: Session) -> tuple[tuple[str, str], ...]:
    made = []
    for name, get in headers:
        value = str(get(scope))
        if not (value.isascii() and value.isprintable()):
            raise TemplateError(f"headers.{name}: its value is not one line of plain text")
        made.append((name, value))
    return tuple(made)


def _clock() -> Getter:
    """Return a function scope -> the clock time of its sample, whose minute is that of many."""
    last = -MINUTE_MS, ""  # one pair: windows are rendered in several threads

    def iso(scope: Session) -> str:
        nonlocal last
        known_ms, minute = last
        ms = int((scope.start_epoch_s + scope.sample.sec_from_start) * 1000 + 0.5) - known_ms
        if not 0 <= ms < MINUTE_MS:
            number, ms = divmod(ms + known_ms, MINUTE_MS)
            minute = f"{EPOCH + timedelta(minutes=number):%Y-%m-%dT%H:%M:}"
            last = number * MINUTE_MS, minute
        second, ms = divmod(ms, 1000)
        return minute + _SECONDS[second] + _MILLISECONDS[ms]

    return iso


def _rows(file: File, line: Getter, scope: Session) -> str:
    rows, last = [file.header] if file.header else [], scope.sample
    for sample in scope.samples:
        scope.sample = sample
        shown = line(scope)
        if shown is not SKIP:
            rows.append(shown)
    scope.sample = last
    return "".join(f"{one}\n" for one in rows)


def _captured(name: str) -> Getter:
    def get(scope: Session) -> Any:
        if name not in scope.captured:
            raise TemplateError(f"{{{name}}} is used before a setup request has captured it")
        return scope.captured[name]

    return get


def _quoted(get: Getter) -> Getter:
    return lambda scope: quote(str(get(scope)), safe="")
