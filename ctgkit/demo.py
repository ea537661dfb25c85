"""``ctgkit demo``: backend, ML stub, sensors and a viewer in one process, over real sockets."""

import asyncio
import contextlib
import importlib.util
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import (
    OUTPUT,
    command,
    json_option,
    option,
    seed_option,
    store_option,
)
from ctgkit.cli.stores import FILE_OR_STORE
from ctgkit.cli.types import SECONDS, SENSORS, File, Speed, whole
from ctgkit.config import SensorEntry, new_sensors
from ctgkit.errors import MissingExtra, StoreError
from ctgkit.simulate.scenario_option import scenario_option

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from ctgkit.sensor.settings import FleetSettings
    from ctgkit.server.app import Backend
    from ctgkit.simulate.source import Source

VIEW_SPEED = 10.0
"""Data seconds per second where somebody watches: the first prediction comes after 30 s."""
SUMMARY_DURATION_S = 600.0
"""Data time played where nobody watches, seconds: enough for eleven predictions per sensor."""
NODES_DURATION_S, NODES_SPEED_MAX = 300.0, 50.0
"""The same with several nodes: time for some of them to die, one after another; a pace at which
that is seen."""
SETTLE_TIMEOUT_S = 60.0
"""How long the last results may take to reach the viewer, seconds."""
PROGRESS_EVERY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of `ctgkit demo`."""

    sensors: int = option("--sensors", type=SENSORS, default=3, help="Number of sensors.")
    scenario: str = scenario_option("What the sensors simulate", default="mixed-cohort")
    recording: Path | None = option(
        "--from",
        type=File(),
        help="Play a recording of any format instead of a scenario: each sensor one of those in it,"
        " in turn.",
    )
    seed: int = seed_option("the scenario")
    duration: float | None = option(
        "--duration",
        type=SECONDS,
        help=f"Seconds of data to play; default: until you quit, or {SUMMARY_DURATION_S:g} without"
        " the live view.",
    )
    speed: float | None = option(
        "--speed",
        type=Speed(),
        help="Data seconds per second, or max; default: 10, or max without the live view.",
    )
    no_watch: bool = option(
        "--no-watch", is_flag=True, help="Show progress and a summary instead of the live view."
    )
    store: Path | None = store_option(
        "Keep the database in this file; default: a temporary file.",
        section=OUTPUT,
        type=FILE_OR_STORE,
        aliases=["--db"],
    )
    nodes: int | None = option(
        "--nodes",
        type=whole("N", 2, 9),
        help="Run N backends on a temporary PostgreSQL (and NATS, if installed); PostgreSQL has to"
        " be installed. Kill one: the others take over its sensors.",
    )
    as_json: bool = json_option("Print the summary as JSON; no live view.")


@command(DemoOptions, example="ctgkit demo --sensors 3 --speed 20")
def demo(options: DemoOptions) -> int:
    """Run everything at once: backend, ML stub, fake sensors and a live view.

    Without a terminal (or with --no-watch or --json) it plays ten minutes of data, or the whole
    recording, as fast as possible, and prints what happened. A test tool, not a medical device.
    """
    from ctgkit.net import eventloop
    from ctgkit.simulate.repertoire import Repertoire

    watching = sys.stdout.isatty() and sys.stdin.isatty()
    watching = watching and not (options.no_watch or options.as_json)
    duration = options.duration
    if duration is None and not watching and options.recording is None:
        duration = SUMMARY_DURATION_S
    if logging.getLogger().level == logging.INFO:
        logging.getLogger().setLevel(logging.WARNING)  # three services' chatter; -v brings it back
    if options.nodes:
        _demand_cluster(options)
    make_source = Repertoire(
        options.scenario, options.recording, options.seed, n_sensors=options.sensors
    ).source
    if options.nodes:
        return _demo_of_nodes(options, options.nodes, make_source, watching=watching)
    with tempfile.TemporaryDirectory(prefix="ctgkit-demo-") as directory:
        summary = eventloop.run(
            _demo(
                new_sensors(options.sensors),
                make_source,
                database=options.store or Path(directory) / "demo.db",
                speed=options.speed or (VIEW_SPEED if watching else float("inf")),
                duration_s=duration or float("inf"),
                watching=watching,
            )
        )
    summary["database"] = str(options.store) if options.store else None
    summary["simulated"] = options.recording is None
    click.echo(json.dumps(summary) if options.as_json else _as_text(summary))
    return 0 if summary["complete"] else 1


def _demand_cluster(options: DemoOptions) -> None:
    """Refuse what several nodes can't do, before anything is read."""
    if options.store:
        raise click.UsageError("--nodes uses its own database and cannot be combined with --store")
    if importlib.util.find_spec("asyncpg") is None:
        raise MissingExtra("--nodes", "asyncpg", "postgres")


def _demo_of_nodes(
    options: DemoOptions, nodes: int, make_source: "Callable[[int], Source]", *, watching: bool
) -> int:
    from ctgkit.cluster.show import cluster_text, show_cluster
    from ctgkit.net import eventloop

    speed = min(options.speed or VIEW_SPEED, NODES_SPEED_MAX)
    whole = watching or options.recording is not None
    duration_s = options.duration or (float("inf") if whole else NODES_DURATION_S)
    summary = eventloop.run(
        show_cluster(
            nodes, options.sensors, make_source, speed=speed, duration_s=duration_s,
            watching=watching,
        )
    )  # fmt: skip
    summary["simulated"] = options.recording is None
    click.echo(json.dumps(summary) if options.as_json else cluster_text(summary))
    return 0 if summary["complete"] else 1


async def _demo(
    credentials: tuple[SensorEntry, ...],
    make_source: "Callable[[int], Source]",
    *,
    database: Path,
    speed: float,
    duration_s: float,
    watching: bool,
) -> dict[str, Any]:
    from ctgkit.mlstub.service import MlService, MlSettings
    from ctgkit.sensor.settings import FleetSettings
    from ctgkit.server.app import run_backend
    from ctgkit.server.settings import BackendSettings

    if not database.parent.is_dir():
        raise StoreError(str(database), "its directory does not exist")
    async with MlService(MlSettings(port=0)) as ml:
        settings = BackendSettings(
            sensors=credentials, database=database, port=0, ml_url=ml.url, ml_retry_s=0.2
        )
        async with run_backend(settings) as backend, _audience(backend) as audience:
            await backend.ml_connected()
            click.echo(f"live page while it runs: {backend.url}/", err=True)
            fleet = FleetSettings(
                url=backend.url.replace("http", "ws", 1) + "/ws/sensor",
                credentials=credentials,
                make_source=make_source,
                first_seq=1,  # its backend is new
                speed=speed,
                duration_s=duration_s,
            )
            if watching:
                sent, problems = await _play_and_watch(backend, fleet)
            else:
                sent, problems = await _play_and_tell(backend, fleet, audience)
            await audience.has_seen(lambda: _to_be_shown(backend))
            return _summary(backend, len(credentials), sent, problems, audience)


class _Audience:
    """What the demo's own viewer saw."""

    def __init__(self) -> None:
        self.total = self.with_prediction = 0
        self.statuses: Counter[str] = Counter()
        self.lost = False
        """Whether its connection was closed."""
        self._moved = asyncio.Event()

    async def watch(self, viewer: "ClientConnection") -> None:
        """Count until the connection ends."""
        from websockets.exceptions import ConnectionClosed

        from ctgkit.wire import decode_result

        with contextlib.suppress(ConnectionClosed):
            while True:
                result = decode_result(await viewer.recv(decode=False))
                self.total += 1
                self.statuses[result.status] += 1
                self.with_prediction += result.prediction is not None
                self._moved.set()
        self.lost = True
        self._moved.set()

    async def has_seen(self, total: Callable[[], int]) -> None:
        """Wait until as many results as *total* says were seen, or no more can come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                while self.total < total() and not self.lost:
                    self._moved.clear()
                    await self._moved.wait()


@contextlib.asynccontextmanager
async def _audience(backend: "Backend") -> AsyncIterator[_Audience]:
    """Run a viewer of our own, so that the summary tells what viewers got."""
    from ctgkit.net.client import dial

    audience = _Audience()
    url = backend.url.replace("http", "ws", 1) + "/ws"
    async with (
        await dial(url, max_queue=4096) as viewer,
        asyncio.TaskGroup() as tasks,
    ):
        watching = tasks.create_task(audience.watch(viewer))
        yield audience
        watching.cancel()


async def _play_and_tell(
    backend: "Backend", fleet: "FleetSettings", audience: _Audience
) -> tuple[int, tuple[str, ...]]:
    """Run the fleet to its end, with progress on stderr."""
    from ctgkit.net.eventloop import stop_on_signals
    from ctgkit.sensor.fleet import run_fleet

    stop = stop_on_signals()

    async def tell() -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            click.echo(f"{backend.stored} samples stored, {audience.total} results seen", err=True)

    async def pass_on() -> None:
        await stop.wait()
        fleet.stop.set()

    async with asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(part) for part in (tell(), pass_on())]
        summary = await run_fleet(fleet)
        for task in others:
            task.cancel()
    return summary.sent, summary.failures


async def _play_and_watch(
    backend: "Backend", fleet: "FleetSettings"
) -> tuple[int, tuple[str, ...]]:
    """Run the fleet under the live view; quitting the view stops it."""
    from ctgkit.sensor.fleet import run_fleet
    from ctgkit.watch.live import run_view

    logging.getLogger().setLevel(logging.ERROR)  # the view owns the terminal
    async with asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(run_fleet(fleet))
        await run_view(backend.url)
        fleet.stop.set()
    summary = playing.result()
    return summary.sent, summary.failures


def _to_be_shown(backend: "Backend") -> int:
    """Return how many results viewers get: more than samples where an answer came late."""
    results = backend.counters.results
    return max(backend.counters.accepted, results["relayed"] + results["fallback"])


def _summary(
    backend: "Backend",
    sensors: int,
    sent: int,
    problems: tuple[str, ...],
    audience: _Audience,
) -> dict[str, Any]:
    results = backend.counters.results
    complete = (
        0 < sent == backend.stored
        and audience.total == results["relayed"] + results["fallback"] >= sent
        and not problems
    )
    return {
        "complete": complete,
        "sensors": sensors,
        "sent": sent,
        "stored": backend.stored,
        "rejected": sum(backend.counters.rejected.values()),
        "results": results["relayed"],
        "unanswered": results["fallback"],
        "seen_by_viewer": audience.total,
        "with_prediction": audience.with_prediction,
        "by_status": dict(sorted(audience.statuses.items())),
        "problems": list(problems),
    }


def _as_text(summary: dict[str, Any]) -> str:
    statuses = ", ".join(f"{count} {status}" for status, count in summary["by_status"].items())
    lines = [
        f"{summary['sensors']} sensors sent {summary['sent']} samples; {summary['stored']} stored",
        f"{summary['results']} results from the ML service, {summary['unanswered']} samples without"
        f" one; the viewer saw {summary['seen_by_viewer']}",
        f"{summary['with_prediction']} with a prediction; status: {statuses or 'none'}",
    ]
    if summary["database"]:
        lines.append(f"stored in {summary['database']}")
    lines += summary["problems"]
    lost = "something was lost" if summary["sent"] else "nothing was sent"
    lines.append("complete" if summary["complete"] else f"INCOMPLETE: {lost}")
    return "\n".join([*lines, "A test tool, not a medical device."])
