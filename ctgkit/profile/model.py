"""What a profile file may say. This module performs no I/O."""

import re
from typing import Annotated, Any, Literal

import msgspec

from ctgkit import toml
from ctgkit.errors import ConfigError, excerpt

Per = Literal["sample", "channel", "batch"]
CHANNELS = ("fhr", "toco", "spasms")
"""Fetal heart rate in beats/min, uterine activity, contraction intensity."""
SCHEMES = ("ws", "wss", "http", "https")
Method = Annotated[str, msgspec.Meta(pattern="^[A-Z]{1,20}$")]
_Positive = Annotated[float, msgspec.Meta(gt=0)]
SECRET_HEADERS = ("auth", "token", "key", "cookie", "secret", "password")
"""What a header's name contains when its value must not stand in the file."""

OWN_HEADERS = ("content-length", "transfer-encoding", "connection", "upgrade")
"""What the connection itself depends on."""

DECELERATIONS = ("early", "late", "variable", "prolonged")
EVENT_KINDS = (
    "acceleration", "contraction", "deceleration", *(f"deceleration.{one}" for one in DECELERATIONS)
)  # fmt: skip
"""Events that ``ctgkit score`` knows."""


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
    method: Method = "POST"
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
    kinds: dict[str, str] = {}
    """The service's word -> ours: ``acceleration``, ``deceleration``, ``contraction``, or with the
    type ``deceleration.late``; other words are left out. Empty: its words are ours."""
    origin: Literal["start", "window"] = "start"
    """From where it counts: the sensor's start (as ``{t}`` does), or the window's."""
    unit_s: _Positive = 1.0
    """Its unit of time, seconds: 0.001 for milliseconds, 0.25 for samples at 4 Hz."""


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
    method: Method = "POST"
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
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0
    """How long a request may take, seconds. Chosen: slow ML services take seconds."""

    @property
    def is_web(self) -> bool:
        """Whether messages are HTTP requests, rather than sent over WebSockets."""
        return self.url.startswith("http")

    @property
    def needs_http(self) -> bool:
        """Whether anything goes over HTTP: the messages, or a setup request."""
        return self.is_web or bool(self.setup)


def parse_profile(text: str, where: str) -> Profile:
    """Read a profile.

    Raises
    ------
    ConfigError
        Naming *where* it comes from, the key and the reason.
    """
    profile = toml.converted(toml.parse(text, where), Profile, where)
    for problem in problems(profile):
        raise ConfigError(where, problem)
    return profile


def moved(profile: Profile, url: str, where: str) -> Profile:
    """Return the profile for another address.

    Parameters
    ----------
    profile : Profile
        Its setup requests to the same host and port move along.
    url : str
        ``[SCHEME://]HOST[:PORT][/PATH]``: what it doesn't say stays as it is.
    where : str
        Named in errors.

    Raises
    ------
    ConfigError
        When the profile cannot be used there: an upload needs HTTP.

    Examples
    --------
    >>> profile = Profile(url="http://a:1/x/{id}", text="{t}")
    >>> moved(profile, "b:2", "").url, moved(profile, "https://b", "").url
    ('http://b:2/x/{id}', 'https://b/x/{id}')
    """
    old_scheme, old_host, old_path = _split(profile.url)
    new_scheme, host, path = _split(url)
    scheme = new_scheme or old_scheme
    web = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    setup = []
    for one in profile.setup:
        _, its_host, its_path = _split(one.url)
        its = f"{web}://{host}{its_path}" if its_host == old_host else one.url
        setup.append(msgspec.structs.replace(one, url=its))
    there = f"{scheme}://{host}{path if path.strip('/') else old_path}"
    profile = msgspec.structs.replace(profile, url=there, setup=setup)
    for problem in problems(profile):
        raise ConfigError(where, problem)
    return profile


def _split(url: str) -> tuple[str, str, str]:
    """Return scheme, host with port, and path of an address, a template or not."""
    found = re.fullmatch(r"(?:([A-Za-z]+)://)?([^/?#]*)(.*)", url, re.DOTALL)
    assert found is not None
    return (found[1] or "").lower(), found[2], found[3]


def problems(profile: Profile) -> list[str]:
    """Return what is wrong with a profile beyond types, each with its place."""
    found = _url_problems("url", profile.url, SCHEMES)
    for n, one in enumerate(profile.setup):
        found += _url_problems(f"setup[{n}].url", one.url, ("http", "https"))
        found += [
            f"setup[{n}].capture.{name}: {pointer!r} is not a JSON pointer: it must begin with /"
            for name, pointer in one.capture.items()
            if pointer and not pointer.startswith("/")
        ]
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
    if profile.files and not profile.is_web:
        found.append("files: an upload needs a url with http:// or https://")
    if profile.text is not None and profile.per == "batch":
        found.append('text: a line cannot hold a batch; use per = "sample" or "channel"')
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
            f"{place}.{name}: secrets do not belong in a profile; name it in [secrets], write"
            ' "{secret.NAME}"'
            for name, value in table.items()
            if any(word in name.lower() for word in SECRET_HEADERS) and "{" not in value
        ]
        found += [
            f"{place}.{name}: not a header that can be set"
            for name in table
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_|~-]+", name) or name.lower() in OWN_HEADERS
        ]
    if profile.reply:
        found += _reply_problems(profile.reply)
    return found


def _url_problems(place: str, url: str, schemes: tuple[str, ...]) -> list[str]:
    scheme, host, _ = _split(url)
    if scheme not in schemes or not host:
        kinds = " ".join(f"{name}://" for name in schemes)
        return [f"{place}: {excerpt(url)!r} is not an address that begins with one of {kinds}"]
    if "@" in host:
        return [f"{place}: an address must not contain a password; use [secrets] and a header"]
    if "{" in host:
        return [f"{place}: host and port cannot be variables; --url moves a profile"]
    return []


def _reply_problems(reply: Reply) -> list[str]:
    pointers = {
        "reply.probability": reply.probability,
        "reply.level": reply.level,
        "reply.alerts": reply.alerts,
        "reply.events": reply.events,
    }
    if event := reply.event:
        pointers |= {"reply.event.start": event.start, "reply.event.end": event.end}
        pointers["reply.event.kind"] = "" if event.kind.startswith("=") else event.kind
    found = [
        f"{place}: {pointer!r} is not a JSON pointer: it must begin with /"
        for place, pointer in pointers.items()
        if pointer and not pointer.startswith("/")
    ]
    if not (reply.probability or (reply.level and reply.levels)):
        found.append("reply: either probability, or level with levels, is needed")
    if reply.events and reply.event is None:
        found.append("reply.event: needed with reply.events")
    if event:
        if not event.kind:
            found.append('reply.event.kind: a pointer, or "=KIND", is needed')
        ours = [*event.kinds.values(), *([event.kind[1:]] if event.kind.startswith("=") else [])]
        found += [
            f"reply.event: {word!r} is not one of {', '.join(EVENT_KINDS)}"
            for word in ours
            if word not in EVENT_KINDS
        ]
    return found
