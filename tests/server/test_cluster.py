"""Nodes that share a database and a NATS: viewers, the past, and ML services see one backend."""

import asyncio
import json

from ctgkit.dsn import Dsn
from ctgkit.server.store.postgres import registry
from tests.server.natsserver import nats_server, needs_nats
from tests.server.parties import (
    SENSORS,
    acked,
    backend_on,
    message,
    ml_service,
    nodes_on,
    result,
    sensor,
    until,
    viewer,
)

PREDICTION = {
    "hypoxia_probability": 0.1, "hypoxia_risk": "low", "alerts": [], "confidence": 1.0,
    "recommendations": [],
}  # fmt: skip


def two_nodes(dsn, bus, **settings):
    """Run two nodes on one database."""
    return nodes_on(bus, Dsn(dsn), Dsn(dsn), ml_retry_s=0.05, **settings)


@needs_nats
async def test_a_viewer_at_another_node_gets_all_of_it(postgres):
    """Live as it came; the past and the last prediction from the database."""

    def answer(request):
        return [result(request, prediction=PREDICTION)]

    dsn = await postgres.database()
    with nats_server() as server:
        async with (
            ml_service(answer) as url,
            two_nodes(dsn, server.url, ml_url=url) as (a, b),
            viewer(a) as near,
            viewer(b) as far,
            sensor(a) as s,
        ):
            await a.ml_connected()
            await until(lambda: b.health()["examinations_open"] == 1)
            for seq in range(1, 41):
                await s.send(message(seq))
            await acked(s, 40)
            live = [await near.recv() for _ in range(40)]
            heard = []
            while len(heard) < 40:  # what was said before it joined the bus may come twice
                text = await far.recv()
                if text in live and text not in heard:
                    heard.append(text)
            assert heard == live
            async with viewer(b, "?backfill=5") as late:
                past = [json.loads(await late.recv()) for _ in range(22)]
            assert [p["secFromStart"] for p in past] == [n / 4 for n in range(20, 41)] + [10.0]
            assert [p["prediction"] for p in past] == [None] * 21 + [PREDICTION]
            async with (  # a node that was not there, and heard nothing on the bus
                backend_on(Dsn(dsn), node="c", bus=server.url) as c,
                viewer(c, f"?backfill=5&sensor={SENSORS[0].id}") as late,
            ):
                past = [json.loads(await late.recv()) for _ in range(22)]
                assert c.health()["sensors"] == 0
            assert [p["secFromStart"] for p in past[:21]] == [n / 4 for n in range(20, 41)]
            assert past[21]["prediction"] == PREDICTION


@needs_nats
async def test_a_viewer_misses_nothing_while_nats_is_away(postgres):
    """What is said meanwhile is read from the database, while it lasts and when it is over."""
    dsn = await postgres.database()
    with nats_server() as server:
        async with (
            two_nodes(dsn, server.url) as (a, b),
            viewer(b) as far,
            sensor(a) as s,
        ):
            await until(lambda: b.health()["status"] == "ok")
            seen = set()

            async def play(seqs):
                for seq in seqs:
                    await s.send(message(seq))
                await acked(s, seqs[-1])
                while not {seq / 4 for seq in seqs} <= seen:
                    seen.add(json.loads(await far.recv())["secFromStart"])

            await play(range(1, 5))
            server.kill()
            await until(lambda: a.health()["bus"] == b.health()["bus"] == "down")
            await play(range(5, 15))
            assert b.counters.results["repaired"] >= 10
            server.start()
            await until(lambda: a.health()["bus"] == b.health()["bus"] == "up")
            await play(range(15, 20))
            assert seen == {seq / 4 for seq in range(1, 20)}


@needs_nats
async def test_a_sensor_moves_and_takes_its_past_along(postgres, monkeypatch):
    """The other node's ML connection hears its last ten minutes; the older socket hears 4409."""
    monkeypatch.setattr(registry, "BEAT_EVERY_S", 3600.0)  # so only the bus can say so
    asked = []

    def answer(request):
        asked.append(request)
        return [result(request)]

    dsn = await postgres.database()
    with nats_server() as server:
        async with (
            ml_service(answer) as url,
            two_nodes(dsn, server.url, ml_url=url, grace_s=60.0) as (a, b),
            viewer(a) as near,
        ):
            for backend in (a, b):
                await backend.ml_connected()
            async with sensor(a) as first:
                for seq in range(41):
                    await first.send(message(seq))
                await acked(first, 40)
                shown = [json.loads(await near.recv())["secFromStart"] for _ in range(41)]
                async with sensor(b) as second:
                    await second.send(message(41))
                    await acked(second, 41)
                    async with asyncio.timeout(60):
                        await first.wait_closed()
                    assert first.close_code == 4409
                    while shown[-1] != 10.25:  # at the seam samples may come twice
                        shown.append(json.loads(await near.recv())["secFromStart"])
            for seq in (42, 43):  # back again, and once more: nobody else had it meanwhile
                async with sensor(a) as third:
                    await third.send(message(seq))
                    await acked(third, seq)
                    await until(lambda s=seq: asked[-1]["secFromStart"] == s / 4)
    seconds = [n / 4 for n in range(42)]
    assert sorted(set(shown)) == seconds
    assert [r["secFromStart"] for r in asked] == seconds[:41] + seconds * 2 + [10.5, 10.75]
    marks = [False] * 41 + [True] * 41 + [False] + [True] * 42 + [False] * 2
    assert [r.get("past", False) for r in asked] == marks
