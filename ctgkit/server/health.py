"""What ``/api/health`` and its siblings say (H-1)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ctgkit import __version__
from ctgkit.clock import utc_timestamp
from ctgkit.net.http import PLAIN, Answer, json_answer
from ctgkit.server.endpoints import Health

if TYPE_CHECKING:
    from ctgkit.server.bus.nats import NatsBus
    from ctgkit.server.mlpool import MlPool
    from ctgkit.server.registry import Registry


def report(
    name: str,
    trouble: str,
    health: Callable[[], dict[str, object]],
    metrics: Callable[[], bytes],
) -> Answer:
    """Answer ``health``, ``metrics``, ``livez`` or ``readyz``; *trouble* is why it isn't ready."""
    match name:
        case "health":
            return json_answer(health())
        case "metrics":
            return Answer(200, metrics(), "text/plain; version=0.0.4; charset=utf-8")
        case "readyz" if trouble:
            return Answer(503, f"{trouble}\n".encode(), PLAIN)
        case _:
            return Answer(200, b"ok\n", PLAIN)


def health_of(
    trouble: str,
    registry: "Registry",
    ml: "MlPool | None",
    bus: "NatsBus | None",
    viewers: int,
    flooders_closed: int,
) -> dict[str, object]:
    """Return the members of the answer; *trouble* is the database's, if any."""
    healthy = not trouble and (ml is None or ml.healthy) and (not bus or bus.state == "up")
    name, generation = registry.node
    as_node: dict[str, Any] = (
        {"node": name, "generation": generation, **registry.counts} if name else {}
    )
    shown = Health(
        status="ok" if healthy else "degraded",
        service="ctgkit",
        timestamp=utc_timestamp(),
        version=__version__,
        store=trouble or "ok",
        ml=ml.state if ml else "off",
        ml_unanswered_share=round(ml.unanswered_share, 3) if ml else 0.0,
        ml_services=len(ml.members) if ml else 0,
        ml_services_up=sum(m.state == "up" for m in ml.members) if ml else 0,
        sensors=len(registry.connected),
        viewers=viewers,
        examinations_open=len(registry.open_examinations()),
        flooders_closed=flooders_closed,
        bus=bus.state if bus else msgspec.UNSET,
        bus_missed=bus.missed if bus else msgspec.UNSET,
        **as_node,
    )
    return dict(msgspec.to_builtins(shown))
