"""Everything that can be chosen about a backend."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from ctgkit.config import SensorEntry
from ctgkit.dsn import Dsn
from ctgkit.wire import MlFormat

Durability = Literal["normal", "full"]
KeepResults = Literal["changes", "all"]
HOUSEKEEPING_EVERY_S = 0.25
"""How often is looked what has become due: ends of grace periods, results that were held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """Everything that can be chosen about a backend."""

    sensors: tuple[SensorEntry, ...]
    database: Path | Dsn
    host: str = "127.0.0.1"
    port: int = 8080
    ml_url: str | tuple[str, ...] | None = "ws://127.0.0.1:8081/ws/ctg"
    """One service, several that share the sensors, or none."""
    ml_format: MlFormat = "nested"
    ml_retry_s: float = 5.0
    grace_s: float = 0.0
    handover_s: float | None = None
    """How long an examination stays open when its last sensor was lost, seconds (PROTOCOL S-5.3);
    None: 15 among nodes, 0 alone."""
    node: str = ""
    """What this process is called among others on one database; the machine's name if empty."""
    bus: str | None = field(default=None, repr=False)
    """Address of NATS, by which nodes show one another's results; None: there are no others."""
    lease_s: float = 10.0
    """Among nodes: after so long without a sign of life a node is declared dead."""
    keep_days: float = 0.0
    """Examinations that ended longer ago are removed; 0 keeps all."""
    pack_days: float = 0.0
    """Of examinations that ended longer ago the rows become blocks (SQLite); 0: never."""
    durability: Durability = "full"
    keep_results: KeepResults = "changes"
    """Which results are rows of their own: those that differ from the sensor's last row, or all."""
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    viewer_token: str | None = field(default=None, repr=False)
    """Asked from viewers; None lets everybody watch."""
    tls: ssl.SSLContext | None = None
    max_connections: int = 10_000
    max_rate_hz: float = 0.0
    """Samples per second and sensor; 0 for no limit."""
    audit_log: Path | None = None
    """Where to note who came, who was refused, and what was examined."""

    @property
    def ml_urls(self) -> tuple[str, ...]:
        """The ML services."""
        return (self.ml_url,) if isinstance(self.ml_url, str) else self.ml_url or ()


def without_password(url: str) -> str:
    """Return an address without user name and password.

    >>> without_password("ws://user:secret@ml:8081/ws/ctg")
    'ws://ml:8081/ws/ctg'
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
