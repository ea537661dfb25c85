"""What the backend counts, and its text for Prometheus; the owner of the metric names."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from ctgkit import __version__

if TYPE_CHECKING:  # they count here
    from ctgkit.server.broadcast import Broadcast
    from ctgkit.server.bus.nats import NatsBus
    from ctgkit.server.mlpool import Member, MlPool
    from ctgkit.server.registry import Registry
    from ctgkit.server.store.writer import Store


class Counters(Collector):
    """Plain integers that the parts count up; read only when somebody asks.

    Accounting: received = accepted + rejected; accepted = stored + duplicates + pending.
    """

    def __init__(self) -> None:
        self.received = self.accepted = 0
        """Samples read, and valid ones."""
        self.rejected: Counter[str] = Counter()
        """Samples rejected, by reason."""
        self.refused: Counter[int] = Counter()
        """Handshakes refused, by HTTP status."""
        self.dropped: Counter[str] = Counter()
        """Messages dropped, by where: ``ml_outbox``, ``viewer``, ``reply``."""
        self.closed: Counter[str] = Counter()
        """Connections closed for what their peers did, by what: ``flood``, ``slow``."""
        self.asked = self.unanswered = 0
        """Samples handed to the ML service; those without a usable result in time."""
        self.results: Counter[str] = Counter()
        """ML results by what became of them: ``relayed``, ``garbage``, ``error``, ``fallback``,
        ``past``: they answer what was sent again, ``others``: of other nodes' sensors,
        ``repaired``: read from the database because those were missed."""
        self.gauges: dict[tuple[str, str], Callable[[], float]] = {}
        """(metric, label) -> how to read its present value."""
        self.node: Callable[[], tuple[str, int]] = lambda: ("", 0)
        """Name and generation of this node, where there may be others."""
        self.node_counts: Mapping[str, int] = {}
        self._registry = CollectorRegistry()
        self.commit_seconds = Histogram(
            "ctgkit_store_commit_seconds", "Duration of a group commit", registry=self._registry
        )
        self.ml_round_trip_seconds = Histogram(
            "ctgkit_ml_round_trip_seconds",
            "From a sample's hand-over to the ML link to its result",
            registry=self._registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
        )
        self._registry.register(self)

    def expose(
        self,
        store: "Store",
        registry: "Registry",
        viewers: "Broadcast",
        ml: "MlPool | None",
        audit: Mapping[str, int],
    ) -> None:
        """Offer the present values of a backend's parts as gauges."""
        self.gauges = {
            ("connections", "sensor"): lambda: len(registry.connected),
            ("connections", "viewer"): lambda: len(viewers),
            ("queue_depth", "store"): lambda: store.depth,
            ("queue_bytes", "store"): lambda: store.queued_bytes,
            ("queue_depth", "viewer"): viewers.depth,
            ("queue_depth", "ml_outbox"): lambda: ml.depth if ml else 0,
            ("tasks", "asyncio"): lambda: len(asyncio.all_tasks()),
            ("ml_up", "ml"): lambda: ml.state == "up" if ml else 0,
            ("samples", "stored"): lambda: store.stored,
            ("samples", "duplicates"): lambda: store.duplicates,
            ("samples", "conflicts"): lambda: store.conflicts,
            ("store_commit_failures", "store"): lambda: store.commit_failures,
            ("store_read_failures", "store"): lambda: store.read_failures,
            ("audit_lines", "written"): lambda: audit["written"],
            ("audit_lines", "suppressed"): lambda: audit["suppressed"],
            ("audit_lines", "lost"): lambda: audit["lost"],
        }
        for member in ml.members if ml else ():
            self.gauges["ml_service_up", member.name] = partial(_is_up, member)
        self.node_counts = registry.counts
        self.node = lambda: registry.node

    def expose_bus(self, bus: "NatsBus | None") -> None:
        """Offer the present values of the bus, where there is one."""
        if bus is not None:
            self.gauges |= {
                ("bus_up", "bus"): lambda: bus.state == "up",
                ("bus_results", "sent"): lambda: bus.sent,
                ("bus_results", "received"): lambda: bus.received,
                ("bus_results", "dropped"): lambda: bus.dropped,
                ("bus_missed", "bus"): lambda: bus.missed,
                ("bus_strange", "bus"): lambda: bus.strange,
            }

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily]:
        """Yield the counters (called by prometheus_client)."""
        for name, value in (
            ("received", self.received),
            ("accepted", self.accepted),
            ("resent", 0),  # all are duplicates now; kept for those who scrape it
            ("asked", self.asked),
            ("unanswered", self.unanswered),
        ):
            yield CounterMetricFamily(f"ctgkit_samples_{name}", f"Samples {name}", value=value)
        for name, label, counts in (
            ("samples_rejected", "reason", self.rejected),
            ("handshakes_refused", "status", self.refused),
            ("messages_dropped", "reason", self.dropped),
            ("connections_closed", "reason", self.closed),
            ("results", "outcome", self.results),
        ):
            family = CounterMetricFamily(
                f"ctgkit_{name}", name.replace("_", " ").capitalize(), labels=[label]
            )
            for key, count in counts.items():
                family.add_metric([str(key)], count)
            yield family
        families: dict[str, GaugeMetricFamily] = {}
        for (name, label), read in self.gauges.items():
            family_of = families.setdefault(
                name, GaugeMetricFamily(f"ctgkit_{name}", name.capitalize(), labels=["name"])
            )
            family_of.add_metric([label], read())
        yield from families.values()
        yield InfoMetricFamily("ctgkit_build", "Version", value={"version": __version__})
        name, generation = self.node()
        if name:
            yield InfoMetricFamily("ctgkit_node", "Node", value={"node": name})
            yield GaugeMetricFamily("ctgkit_node_generation", "Generation", value=generation)
            events = CounterMetricFamily("ctgkit_node_events", "Node events", labels=["kind"])
            for kind, count in self.node_counts.items():
                events.add_metric([kind], count)
            yield events

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


def _is_up(member: "Member") -> bool:
    return member.state == "up"
