"""What was done in one random history, as a recording that plays it again."""

import asyncio
import json
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctgkit import private
from ctgkit.clock import utc_timestamp

REPLACED = 4409
"""Close code of a connection when the same sensor connects again (PROTOCOL S-1.4)."""


@dataclass(slots=True)
class Tape:
    """What was done in one history, as lines of a recording."""

    lines: list[list[Any]] = field(default_factory=list)
    links: int = 0
    began_s: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def opened(self, path: str, subprotocol: str | None) -> None:
        """Note a new connection."""
        self.links += 1
        self._add("open", {"path": path, "subprotocol": subprotocol}, self.links)

    def sent(self, frame: str | bytes) -> None:
        """Note a frame on the newest connection."""
        if isinstance(frame, bytes):
            self._add(">binary", b64encode(frame).decode(), self.links)
        else:
            self._add(">", frame, self.links)

    def closed(self, by: str, code: int, link: int) -> None:
        """Note that a connection ended."""
        self._add("close", {"by": by, "code": code}, link)

    def _add(self, what: str, detail: Any, link: int) -> None:
        t_s = round(asyncio.get_running_loop().time() - self.began_s, 6)
        self.lines.append([t_s, f"s{link} {what}", detail])

    def write(self, path: Path, what: str, seed: int) -> None:
        """Write a recording that plays it again."""
        header = {
            "ctgkit_recording": 1,
            "created": utc_timestamp(),
            "made_by": "ctgkit check --fuzz",
            "simulated": True,
            "what": what,
            "seed": seed,
        }
        private.write_text(path, "".join(json.dumps(line) + "\n" for line in [header, *self.lines]))
