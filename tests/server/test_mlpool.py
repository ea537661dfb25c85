"""Several ML services share the sensors; one that dies moves its own only, with their past."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from click.testing import CliRunner
from websockets.asyncio.server import serve

from ctgkit.cli.main import cli
from ctgkit.config import SensorEntry
from ctgkit.server import mlpool
from ctgkit.server.mlpool import MlPool, ranked
from ctgkit.wire import TOKEN_HEADER
from tests.server.parties import backend_on, connect, message, result, until, viewer, ws

IDS = [f"0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b{n:04x}" for n in range(1000)]


class Link:
    """A member that says what it was given."""

    def __init__(self, url):
        self.url, self.away_since_s, self.got, self.dropped = url, None, [], []

    def offer(self, samples):
        self.got += (sample.sensor_id for sample in samples)

    def drop(self, sensor_id):
        self.dropped.append(sensor_id)


class Item:
    def __init__(self, sensor_id):
        self.sensor_id = sensor_id


def test_shares_are_even_and_only_the_dead_ones_move(monkeypatch):
    """They come back with their next examination, not before."""
    urls = ["ws://a", "ws://b", "ws://c"]
    shares = [sum(ranked(i, urls)[0] == url for i in IDS) for url in urls]
    assert min(shares) > 250
    now_s = 100.0
    monkeypatch.setattr(mlpool.time, "monotonic", lambda: now_s)
    links = {url: Link(url) for url in urls}
    pool = MlPool(urls, links.get)

    def spread():
        for link in links.values():
            link.got.clear()
        for sensor_id in IDS:
            pool.offer((Item(sensor_id),))
        return {url: set(link.got) for url, link in links.items()}

    before = spread()
    links["ws://b"].away_since_s = now_s
    now_s += mlpool.MOVE_AFTER_S / 2
    assert spread() == before  # a restart takes less
    now_s += mlpool.MOVE_AFTER_S
    for link in links.values():
        link.dropped.clear()
    moved = spread()
    assert not moved["ws://b"]
    assert before["ws://a"] <= moved["ws://a"]
    assert before["ws://c"] <= moved["ws://c"]
    told = {i for link in links.values() for i in link.dropped}
    assert told == before["ws://b"]  # they are sent their past
    links["ws://b"].away_since_s = None
    assert spread() == moved
    for sensor_id in IDS:
        pool.begin(sensor_id)
    assert spread() == before
    for link in links.values():
        link.away_since_s = 0.0
    assert spread() == before  # nobody is better


@asynccontextmanager
async def noting(requests):
    """Serve an ML service that shares nothing with ours; yield its address."""

    async def converse(connection):
        async for text in connection:
            requests.append(json.loads(text))
            await connection.send(result(requests[-1]))

    async with serve(converse, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/ctg"


@pytest.mark.usefixtures("patient")
async def test_one_of_two_dies(tmp_path):
    """Its sensors go to the other one, which hears their past first; each sample is shown once."""
    asked = [[], []]
    async with AsyncExitStack() as stack:
        services = [AsyncExitStack(), AsyncExitStack()]
        urls = tuple([await services[n].enter_async_context(noting(asked[n])) for n in (0, 1)])
        of_each = [[i for i in IDS if ranked(i, urls)[0] == url][:4] for url in urls]
        first = {i: url for url, ids in zip(urls, of_each, strict=True) for i in ids}
        entries = tuple(SensorEntry(id=i, token="t") for i in first)
        settings = {"sensors": entries, "ml_url": urls, "ml_retry_s": 0.05}
        backend = await stack.enter_async_context(backend_on(tmp_path / "x.db", **settings))
        await backend.ml_connected()
        v = await stack.enter_async_context(viewer(backend))
        sensors = []
        for entry in entries:
            url = ws(backend, f"/ws/sensor?sensor_id={entry.id}")
            dialled = connect(url, additional_headers={TOKEN_HEADER: "t"})
            sensors.append(await stack.enter_async_context(dialled))
        shown = []

        async def play(seconds):
            for second in seconds:
                for s in sensors:
                    await s.send(message(sec=float(second)))
                shown.extend([json.loads(await v.recv()) for _ in sensors])

        await play(range(60))
        for n in (0, 1):
            assert {r["sensorID"] for r in asked[n]} == {i for i in first if first[i] == urls[n]}
        await services[0].aclose()
        await until(lambda: backend.health()["ml_services_up"] == 1)
        assert backend.health()["status"] == "degraded"
        assert backend.health()["ml"] == "up"
        heard, second = len(asked[1]), 60
        mine = {i for i in first if first[i] == urls[0]}
        while not mine <= {r["sensorID"] for r in asked[1]}:
            await play([second])
            second += 1
            await asyncio.sleep(0.05)
        await play([second])
        await services[1].aclose()
    for sensor_id in mine:
        told = [r["secFromStart"] for r in asked[1][heard:] if r["sensorID"] == sensor_id]
        assert told == [float(n) for n in range(second + 1)]
    answered = [(r["sensorID"], r["secFromStart"]) for r in shown if r["status"] == "ok"]
    assert len(answered) == len(set(answered))
    assert {(r["sensorID"], r["secFromStart"]) for r in shown} == {
        (i, float(n)) for i in first for n in range(second + 1)
    }


@pytest.mark.parametrize(
    "more",
    [("none",), ("ws://127.0.0.1:1/x",), ("http://127.0.0.1:1",)],
    ids=["none", "the same", "http"],
)
def test_what_cannot_share_is_refused(more):
    """Before anything is opened, naming the option."""
    arguments = ["serve", "--ml", "ws://127.0.0.1:1/x", *(a for m in more for a in ("--ml", m))]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert "--ml" in done.output
