"""What is sent, and what the messages of one sensor have in common. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from ctgkit.errors import excerpt
from ctgkit.samples import Sample

TOKEN_MIN_CHARS = 16
"""From this length on, what a setup request captured may be a token, and is not shown."""
NOTHING = Sample("", 0.0, None, None, None)


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message or a request."""

    url: str
    body: bytes
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    samples: int = 1
    """How many samples it carries; 0 for setup requests."""

    @property
    def is_text(self) -> bool:
        """Whether it is a line rather than JSON."""
        return self.content_type.startswith("text/")


class Beside(NamedTuple):
    """What a monitor may say besides the channels, of one sample."""

    mother_bpm: float
    """The mother's heart rate."""
    quality: int
    """2: the fetus; 1: another heart, or a wrong multiple; 0: no signal."""
    second_bpm: float = math.nan
    """The other twin's heart rate, as its sensor shows it."""


UNKNOWN = Beside(math.nan, -1)


@dataclass(slots=True)
class Session:
    """What a sensor's messages have in common."""

    sensor_id: str
    start_epoch_s: float
    """Wall time of data time 0, Unix seconds."""
    captured: dict[str, Any] = field(default_factory=dict)
    """What setup requests captured, and ``secret.NAME`` for each secret."""
    seq: int = 0
    samples: Sequence[Sample] = ()
    """What is being rendered; templates see it here."""
    sample: Sample = NOTHING
    channel: str = ""
    beside: Mapping[float, Beside] = field(default_factory=dict)
    """Data time -> what a simulated sensor knows besides; empty for recordings."""

    def hidden(self, body: bytes) -> bytes:
        """Return what the other side said, or was sent, without secrets."""
        for name, value in self.captured.items():
            if isinstance(value, str) and (
                name.startswith("secret.") or len(value) >= TOKEN_MIN_CHARS
            ):
                for spelt in {value, quote(value, safe="")}:
                    body = body.replace(spelt.encode(), b"***")
        return body

    def shown(self, text: bytes | str) -> str:
        """Return the start of a text for logs, without secrets."""
        return excerpt(self.hidden(text.encode() if isinstance(text, str) else text))
