"""``ctgkit demo --nodes N``: nodes on one database; one dies, and nothing happens."""

import asyncio
import contextlib
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ctgkit.cluster.nodes import AWAY_S, Node, balanced, new_nodes
from ctgkit.cluster.servers import own_nats, own_postgres
from ctgkit.config import SensorEntry, new_sensors, write_config
from ctgkit.errors import WireError
from ctgkit.net.eventloop import stop_on_signals
from ctgkit.simulate.source import Source

KILL_EVERY_S = 10.0
"""Where nobody watches: from one node's death to the next, seconds; the first after half of it."""
FRESH_S = 0.1
"""What is seen of a sensor within this after a node's death may have been on its way, seconds."""
_STYLES = {"serving": "green", "starting": "yellow", "dead": "bold red"}


@dataclass(slots=True)
class Death:
    """A node that died, and who was seen since."""

    node: str
    sensors: int
    """How many it had."""
    at_s: float
    wanted: dict[str, float]
    """Sensor -> the data time from which on it is seen again; those that aren't yet."""
    again_s: float | None = None
    """After how long all sensors were seen."""


@dataclass(slots=True)
class Scene:
    """What is seen of the cluster."""

    nodes: list[Node]
    speed: float
    tell: Callable[[str], None]
    shares: dict[str, int] = field(default_factory=dict)
    """Node -> its sensors, as the database says."""
    seen_s: dict[str, float] = field(default_factory=dict)
    """Sensor -> data time of the last sample that a viewer saw."""
    samples: int = 0
    deaths: list[Death] = field(default_factory=list)
    _born: set[str] = field(default_factory=set)

    def see(self, sensor_id: str, data_time_s: float) -> None:
        """Take note of a sample that a viewer was shown."""
        if data_time_s <= self.seen_s.get(sensor_id, -1.0):
            return  # every node shows it
        self.seen_s[sensor_id] = data_time_s
        self.samples += 1
        for death in self.deaths:
            if death.again_s is None and data_time_s > death.wanted.get(sensor_id, math.inf):
                del death.wanted[sensor_id]
                if not death.wanted:
                    death.again_s = time.monotonic() - death.at_s
                    self.tell(
                        f"all {len(self.seen_s)} sensors are back: the last one was seen again"
                        f" {death.again_s:.1f} s after {death.node} died"
                    )

    def changed(self, node: Node) -> None:
        """Take note of a node that died, or serves."""
        if node.state == "dead":
            had = self.shares.get(node.name, 0)
            wanted = {one: at_s + FRESH_S * self.speed for one, at_s in self.seen_s.items()}
            self.deaths.append(Death(node.name, had, time.monotonic(), wanted))
            self.tell(f"{node.name} died; it had {had} sensors; it restarts in {AWAY_S:g} s")
        elif node.name in self._born:
            self.tell(f"{node.name} serves again, process {node.pid}")
        self._born.add(node.name)


async def show_cluster(
    count: int,
    sensors: int,
    make_source: Callable[[int], Source],
    *,
    speed: float,
    duration_s: float,
    watching: bool,
) -> dict[str, Any]:
    """Run nodes, a database, a bus and sensors; return what came of them.

    Raises
    ------
    NotInstalled
        When there is no PostgreSQL.
    ConfigError
        When a part does not start.
    """
    from ctgkit.mlstub.service import MlService, MlSettings

    stop = stop_on_signals()
    entries = tuple(replace(s, bed=f"bed {n}") for n, s in enumerate(new_sensors(sensors), 1))
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ctgkit-nodes-")))
        write_config(folder / "ctgkit.toml", entries)
        dsn = await stack.enter_async_context(own_postgres(folder))
        bus = await stack.enter_async_context(own_nats(folder))
        if bus is None:
            click.echo(
                "no nats-server (Debian: apt-get install nats-server; pip install 'ctgkit[nats]'):"
                " each node shows only its own sensors", err=True,
            )  # fmt: skip
        ml = await stack.enter_async_context(MlService(MlSettings(port=0)))
        nodes = new_nodes(count, folder, folder / "ctgkit.toml", dsn, bus, ml.url)
        console = Console()
        scene = Scene(nodes, speed, lambda text: _tell(console if watching else None, text))
        parts = await stack.enter_async_context(asyncio.TaskGroup())
        living = [parts.create_task(node.live(scene.changed)) for node in nodes]
        for node in nodes:
            await node.serves.wait()
        url = await stack.enter_async_context(balanced(nodes))
        looking = [parts.create_task(_look(node, scene)) for node in nodes]
        looking.append(parts.create_task(_count(scene, dsn)))
        lasts_s = duration_s / speed
        how = _by_keys(scene, url, stop, console) if watching else _kill_some(scene, lasts_s)
        acting = parts.create_task(how)
        summary = await _play(entries, make_source, url, speed, duration_s, stop)
        for task in (acting, *looking):
            task.cancel()
        await asyncio.wait((acting, *looking))
        for task in living:
            task.cancel()
        await asyncio.wait(living)
        return await asyncio.to_thread(_summary, scene, summary, dsn, len(entries))
    raise AssertionError


def _tell(console: Console | None, text: str) -> None:
    if console is None:
        click.echo(text, err=True)
    else:
        console.print(f"{time.strftime('%H:%M:%S')} {text}", markup=False, highlight=False)


async def _look(node: Node, scene: Scene) -> None:
    """Watch one node as a viewer, for ever: with a bus each sees all sensors."""
    from ctgkit.watch.feed import Link, follow, viewer_url
    from ctgkit.wire import decode_result

    async with contextlib.aclosing(follow(viewer_url(node.url))) as stream:
        async for item in stream:
            if not isinstance(item, Link):
                with contextlib.suppress(WireError):
                    shown = decode_result(item)
                    scene.see(shown.sensor_id, shown.sec_from_start)


async def _count(scene: Scene, dsn: Any) -> None:
    """Ask the database every second who has which sensors."""
    from ctgkit.net.postgres import read_only
    from ctgkit.server.store.postgres.reader import PostgresReader

    with read_only(dsn, snapshot=False) as db:
        reader = PostgresReader(db, dsn)
        while True:
            rows = await asyncio.to_thread(reader.nodes)
            scene.shares = {row["node"]: row["sensors"] for row in rows}
            await asyncio.sleep(1.0)


async def _kill_some(scene: Scene, lasts_s: float) -> None:
    """Where nobody watches: kill the node with the most sensors, and again, but not at the end."""
    await asyncio.sleep(KILL_EVERY_S / 2)
    while lasts_s >= KILL_EVERY_S:
        serving = [node for node in scene.nodes if node.state == "serving"]
        if len(serving) == len(scene.nodes):
            max(serving, key=lambda node: scene.shares.get(node.name, 0)).kill()
        await asyncio.sleep(KILL_EVERY_S)
        lasts_s -= KILL_EVERY_S


async def _by_keys(scene: Scene, url: str, stop: asyncio.Event, console: Console) -> None:
    """Show the nodes; a digit kills one, q ends all."""
    from ctgkit.watch.keys import keys_pressed

    def typed(key: str) -> None:
        if key == "q":
            stop.set()
        elif key.isdigit() and 1 <= int(key) <= len(scene.nodes):
            scene.nodes[int(key) - 1].kill()

    with keys_pressed(typed), Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_picture(scene, url), refresh=True)
            await asyncio.sleep(0.2)


def _picture(scene: Scene, url: str) -> Group:
    table = Table("", "node", "process", "state", "sensors", "address", title_justify="left")
    for number, node in enumerate(scene.nodes, 1):
        had = scene.shares.get(node.name, 0) if node.state == "serving" else 0
        state = Text(node.state, style=_STYLES[node.state])
        table.add_row(str(number), node.name, str(node.pid or "-"), state, str(had), node.url)
    lines = (
        f"live page behind the balancer: {url}/",
        f"{scene.samples} samples of {len(scene.seen_s)} sensors seen,"
        f" nodes died: {len(scene.deaths)}",
        "a digit kills a node (so does kill -9 PROCESS), q quits · simulated, not a medical device",
    )
    return Group(table, *(Text(line, overflow="fold") for line in lines))


async def _play(
    entries: tuple[SensorEntry, ...],
    make_source: Callable[[int], Source],
    url: str,
    speed: float,
    duration_s: float,
    stop: asyncio.Event,
) -> dict[str, Any]:
    from ctgkit.sensor.fleet import run_fleet
    from ctgkit.sensor.settings import FleetSettings

    fleet = FleetSettings(
        url=url.replace("http", "ws", 1) + "/ws/sensor", credentials=entries,
        make_source=make_source, first_seq=1, speed=speed, duration_s=duration_s, stop=stop,
    )  # fmt: skip
    return (await run_fleet(fleet)).as_dict()


def _summary(scene: Scene, fleet: dict[str, Any], dsn: Any, beds: int) -> dict[str, Any]:
    from ctgkit.server.store.postgres.reader import open_reader

    with open_reader(dsn) as reader:
        examinations = reader.examinations()
    stored = sum(one["samples"] for one in examinations)
    deaths = [
        {
            "node": one.node, "sensors": one.sensors,
            "all_seen_after_s": None if one.again_s is None else round(one.again_s, 2),
        }
        for one in scene.deaths
    ]  # fmt: skip
    complete = 0 < fleet["sent"] == fleet["acked"] == stored and not fleet["failures"]
    return {
        "complete": complete and len(examinations) == beds,
        "nodes": len(scene.nodes),
        "sensors": beds,
        "sent": fleet["sent"],
        "acked": fleet["acked"],
        "stored": stored,
        "examinations": len(examinations),
        "resent": fleet["resent"],
        "reconnects": fleet["reconnects"],
        "died": deaths,
        "problems": list(fleet["failures"]),
    }


def cluster_text(summary: dict[str, Any]) -> str:
    """Return a summary for people."""
    lines = [
        f"{summary['nodes']} nodes; nodes died: {len(summary['died'])}",
        f"{summary['sensors']} sensors sent {summary['sent']} samples: {summary['acked']}"
        f" acknowledged, {summary['stored']} stored, each once; {summary['examinations']}"
        " examinations, one per bed",
        f"{summary['reconnects']} reconnects, {summary['resent']} samples sent again",
    ]
    lines += [
        f"{one['node']} died with {one['sensors']} sensors: all seen again after"
        f" {one['all_seen_after_s']} s"
        for one in summary["died"]
        if one["all_seen_after_s"] is not None
    ]
    lines += summary["problems"]
    lines.append("complete" if summary["complete"] else "INCOMPLETE: something was lost")
    return "\n".join([*lines, "A test tool, not a medical device."])
