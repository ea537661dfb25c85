"""What a profile file may say. This module performs no I/O."""

import tomllib
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from ctgkit.errors import ConfigError

Per = Literal["sample", "channel", "batch"]
CHANNELS = ("fhr", "toco", "spasms")
"""Fetal heart rate in beats/min, uterine activity, contraction intensity."""
SCHEMES = ("ws", "wss", "http", "https")
_Positive = Annotated[float, msgspec.Meta(gt=0)]
SECRET_HEADERS = ("auth", "token", "key", "cookie", "secret", "password")
"""What a header's name contains when its value must not stand in the file."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables of a profile: a misspelt key is an error."""


class Secret(Part, frozen=True, kw_only=True):
    """Where a secret stands: in a file, or in an environment variable."""

    file: str | None = None
    env: str | None = None


class Channel(Part, frozen=True, kw_only=True):
    """How a channel is called and scaled: ``value * scale + offset``."""

    name: str = ""
    """What ``{channel}`` becomes; default: the channel's own name."""
    scale: float = 1.0
    offset: float = 0.0
    digits: Annotated[int, msgspec.Meta(ge=0, le=9)] | None = None
    """Decimals; 0 makes integers."""
    send: bool = True


class File(Part, frozen=True, kw_only=True):
    """A file of an upload: a header, and a line per sample of the batch."""

    name: str
    line: str
    header: str = ""


class Setup(Part, frozen=True, kw_only=True):
    """A request that comes first, such as a login; what it captures are variables."""

    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body: Any = None
    capture: dict[str, str] = {}
    """Variable -> JSON pointer into the answer."""


class EventShape(Part, frozen=True, kw_only=True):
    """Where an element of a list of events has its members: JSON pointers."""

    start: str
    end: str
    kind: str = ""
    """A pointer, or with ``=`` before it the kind itself: ``"=deceleration"``."""


class Reply(Part, frozen=True, kw_only=True):
    """Where a reply says what: JSON pointers such as ``/result/0/probability``."""

    probability: str = ""
    scale: _Positive = 1.0
    """Probabilities are divided by it: 100 for percentages."""
    level: str = ""
    levels: dict[str, Annotated[float, msgspec.Meta(ge=0, le=1)]] = {}
    """What a level means as a probability, for services that only name levels."""
    alerts: str = ""
    events: str = ""
    event: EventShape | None = None
    accept: tuple[int, ...] = (200, 201, 202, 204)
    """HTTP statuses that mean success."""
    skip: tuple[int, ...] = ()
    """HTTP statuses that mean that there is no result yet, such as 422 on a short window."""


class Profile(Part, frozen=True, kw_only=True):
    """How samples look on somebody's wire."""

    name: str = ""
    about: str = ""
    url: str
    method: str = "POST"
    per: Per = "sample"
    batch_s: _Positive = 1.0
    """Length of a batch, seconds of data time."""
    rate_hz: _Positive | None = None
    """Samples per second that such systems expect; the default of ``--rate``."""
    gap: float | str = "null"
    """What no signal becomes: ``"null"``, a number, ``"skip"`` to leave it out, or a word."""
    headers: dict[str, str] = {}
    secrets: dict[str, Secret] = {}
    body: Any = None
    """A tree; with ``per = "batch"`` it may hold ``"{samples}"`` and ``"{fhr[]}"``."""
    sample: Any = None
    """With ``per = "batch"``: the tree of one element of ``"{samples}"``."""
    text: str | None = None
    """Instead of *body*: a line that isn't JSON."""
    files: dict[str, File] = {}
    """Instead of *body*: an upload (multipart), by the name of the form's field."""
    channel: dict[str, Channel] = {}
    setup: list[Setup] = []
    reply: Reply | None = None
    window_s: _Positive = 600.0
    every_s: _Positive = 30.0
    """For an ML service behind HTTP: the window that it gets, and how often, seconds of data
    time."""


def parse_profile(text: str, where: str) -> Profile:
    """Read a profile.

    Raises
    ------
    ConfigError
        Naming *where* it comes from, the key and the reason.
    """
    try:
        profile = msgspec.convert(tomllib.loads(text), Profile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError, ValueError) as error:
        raise ConfigError(where, _spelt(error)) from error
    for problem in problems(profile):
        raise ConfigError(where, problem)
    return profile


def _spelt(error: Exception) -> str:
    text = str(error) or type(error).__name__
    reason, _, path = text.partition(" - at `$.")
    return f"{path.rstrip('`')}: {reason}" if path else text


def problems(profile: Profile) -> list[str]:
    """Return what is wrong with a profile beyond types, each with its place."""
    found = []
    if urlsplit(profile.url.partition("{")[0]).scheme not in SCHEMES:
        found.append(f"url: {profile.url!r} begins with none of ws:// wss:// http:// https://")
    shapes = [
        name
        for name, given in (
            ("body", profile.body is not None),
            ("text", profile.text is not None),
            ("files", bool(profile.files)),
        )
        if given
    ]
    if len(shapes) != 1:
        found.append(f"exactly one of body, text and files is needed, not {shapes or 'none'}")
    if profile.files and profile.per != "batch":
        found.append('files: an upload needs per = "batch"')
    if profile.text is not None and profile.per == "batch":
        found.append('text: one line has no place for a batch; per = "sample" or "channel"')
    found += [
        f"channel.{name}: unknown channel; known are {', '.join(CHANNELS)}"
        for name in profile.channel
        if name not in CHANNELS
    ]
    found += [
        f"secrets.{name}: exactly one of file and env is needed"
        for name, secret in profile.secrets.items()
        if (secret.file is None) == (secret.env is None)
    ]
    headers = [("headers", profile.headers)]
    headers += [(f"setup[{n}].headers", one.headers) for n, one in enumerate(profile.setup)]
    for place, table in headers:
        found += [
            f"{place}.{name}: a secret has no place in a profile; name it in [secrets] and write"
            ' "{secret.NAME}"'
            for name, value in table.items()
            if any(word in name.lower() for word in SECRET_HEADERS) and "{" not in value
        ]
    if profile.reply:
        found += _reply_problems(profile.reply)
    return found


def _reply_problems(reply: Reply) -> list[str]:
    pointers = {
        "reply.probability": reply.probability,
        "reply.level": reply.level,
        "reply.alerts": reply.alerts,
        "reply.events": reply.events,
    }
    found = [
        f"{place}: {pointer!r} is no JSON pointer: it begins with /"
        for place, pointer in pointers.items()
        if pointer and not pointer.startswith("/")
    ]
    if not (reply.probability or (reply.level and reply.levels)):
        found.append("reply: either probability, or level with levels, is needed")
    if reply.events and reply.event is None:
        found.append("reply.event: needed with reply.events")
    return found
