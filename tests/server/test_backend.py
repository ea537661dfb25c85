"""The backend over real sockets and a real database, with the other parties in this process."""

import asyncio
import json
import socket
import ssl
import urllib.request
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ctgkit.errors import ConfigError
from ctgkit.server import door, tokens
from ctgkit.server.store.reader import open_reader
from ctgkit.watch.feed import narrowed, viewer_url
from tests.server.parties import (
    SENSORS,
    acked,
    backend_on,
    message,
    ml_service,
    result,
    sensor,
    until,
    viewer,
    ws,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ctg.db"


def rows(path, examination_id=1):
    with open_reader(path) as reader:
        return list(reader.samples(examination_id))


def results(path, examination_id=1):
    with open_reader(path) as reader:
        return list(reader.predictions(examination_id))


async def get(url):
    def fetch():
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()

    return await asyncio.to_thread(fetch)


async def test_acked_samples_are_stored_and_rejected_ones_named(path):
    """Under ctgkit.v1 each sample is acknowledged after its commit, or refused with its number."""
    async with backend_on(path) as backend, sensor(backend) as s:
        assert s.subprotocol == "ctgkit.v1"
        await s.send(message(1))
        await s.send(message(2, fhr=1000))
        await s.send(message())
        await s.send(message(3))
        refusals = await acked(s, 3)
        assert [r.get("seq") for r in refusals] == [2, None]
        assert [r["seq"] for r in rows(path)] == [1, 3]
        assert backend.counters.rejected == {"range": 1, "missing": 1}


async def test_without_the_subprotocol_nothing_is_answered(path):
    """The specification's sensor sends and forgets; its numbers, if any, mean nothing."""
    async with backend_on(path) as backend:
        async with sensor(backend, v1=False) as s:
            assert s.subprotocol is None
            for frame in (message(5), message(5), message().encode(), "rubbish"):
                await s.send(frame)
            await until(lambda: backend.stored == 3)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(s.recv(), 0)
        assert [r["seq"] for r in rows(path)] == [None] * 3
        assert backend.counters.rejected == {"json": 1}


async def test_accounting_adds_up(path):
    """received = accepted + rejected; accepted = stored + duplicates + resent."""
    async with backend_on(path) as backend:
        async with sensor(backend) as s:
            for seq in (1, 2, 2, 3):
                await s.send(message(seq))
            await s.send("[]")
            await s.send(f"[{message(4)}, {message(5, fhr=-1)}]")
            await acked(s, 4)
        counters = backend.counters
        assert counters.received == counters.accepted + sum(counters.rejected.values()) == 7
        assert counters.accepted == backend.stored + 1 == 5
        text = (await get(backend.url + "/metrics")).decode()
        assert "ctgkit_samples_received_total 7.0" in text
        assert 'ctgkit_samples{name="stored"} 4.0' in text
        assert 'ctgkit_samples_rejected_total{reason="range"} 1.0' in text


async def test_results_are_stored_and_relayed_byte_for_byte(path):
    """What the ML service says reaches the viewer and the database as it came."""
    said = []

    def answer(request):
        said.append(result(request, status="warning", future={"ключ": [1.0, 1e-9]}))
        return [said[-1]]

    async with (
        ml_service(answer) as url,
        backend_on(path, ml_url=url, keep_results="all") as backend,
        viewer(backend) as v,
        sensor(backend) as s,
    ):
        await backend.ml_connected()
        for seq in range(1, 20):
            await s.send(message(seq))
        heard = [await v.recv() for _ in range(19)]
        assert heard == said
    assert results(path) == said


REQUIRED = ("sensorID", "secFromStart", "data", "status")


async def test_garbage_of_the_ml_service_is_counted_and_not_relayed(path):
    """Only whole results about a sensor of ours reach viewers (PROTOCOL M-4.1)."""
    told = {"sensorID": SENSORS[0].id.upper(), "secFromStart": 1.0}
    told["data"] = {"BPMChild": 140.5, "uterus": None, "spasms": 0}
    good = result(told)
    whole = json.loads(good)
    without = [{k: v for k, v in whole.items() if k != member} for member in REQUIRED]
    rubbish = [
        *map(json.dumps, without),
        json.dumps(whole | {"sensorID": ""}),  # in a sample it is whoever sends it (S-4.3)
        json.dumps(whole | {"status": 7}),
        json.dumps(whole | {"prediction": {"hypoxia_probability": 62}}),
        json.dumps(whole | {"prediction": {"alerts": "none"}}),
        "no json",
        "[]",
        '{"sensorID": 5}',
        '{"sensorID": "somebody"}',
        '{"sensorID": "x", "prediction": []}',
        '{"status": "error", "message": "Processing error: x", "timestamp": "t"}',
        b'{"sensorID": "%s", "x": "\xff"}' % SENSORS[0].id.encode(),
        good,
    ]
    async with (
        ml_service(lambda request: rubbish) as url,
        backend_on(path, ml_url=url) as backend,
        viewer(backend) as v,
        sensor(backend) as s,
    ):
        await backend.ml_connected()
        await s.send(message(1))
        assert json.loads(await v.recv())["status"] == "error"  # the sample behind the error
        assert await v.recv() == good
        assert backend.counters.results["garbage"] == len(rubbish) - 2
        assert backend.counters.results["error"] == 1
    assert results(path) == [good]


async def test_viewers_see_samples_while_the_ml_service_is_away(path):
    """Without an analyzer, and in its silence, the live trace goes on; it recovers by itself."""
    silent = True

    def answer(request):
        return [] if silent else [result(request)]

    async with (
        ml_service(answer) as url,
        backend_on(path, ml_url=url, ml_retry_s=0.05) as backend,
        viewer(backend) as v,
        sensor(backend) as s,
    ):
        await backend.ml_connected()
        await s.send(message(1))
        shown = json.loads(await v.recv())
        assert (shown["secFromStart"], shown["prediction"], shown["status"]) == (
            0.25,
            None,
            "error",
        )
        assert backend.health()["ml"] == "stalled"
        assert backend.health()["status"] == "degraded"
        silent = False
        await s.send(message(2))
        assert json.loads(await v.recv())["status"] == "error"
        assert json.loads(await v.recv())["status"] == "ok"
        assert backend.health()["ml"] == "up"


async def test_without_an_ml_service_viewers_get_every_sample(path):
    """`--ml none`: each sample in the result's shape."""
    async with backend_on(path) as backend, viewer(backend) as v, sensor(backend) as s:
        await s.send(message(1, fhr=None))
        shown = json.loads(await v.recv())
        assert shown["sensorID"] == SENSORS[0].id
        assert shown["data"] == {"BPMChild": None, "uterus": 10.0, "spasms": 0.0}
        assert shown["timestamp"].endswith("Z")


async def test_a_late_viewer_gets_the_past_and_the_last_prediction(path):
    """A backfill covers the seconds asked for, of every sensor of the open examinations."""
    prediction = {
        "hypoxia_probability": 0.1, "hypoxia_risk": "low", "alerts": [], "confidence": 1.0,
        "recommendations": [],
    }  # fmt: skip

    def answer(request):
        return [result(request, prediction=prediction)]

    async with ml_service(answer) as url, backend_on(path, ml_url=url) as backend:
        await backend.ml_connected()
        async with viewer(backend) as early, sensor(backend) as a, sensor(backend, 2) as b:
            for seq in range(1, 101):
                await a.send(message(seq))
                await b.send(message(seq))
            for _ in range(200):
                last = await early.recv()
            await acked(a, 100)
            async with viewer(backend, "?backfill=10") as late:
                heard = [json.loads(await late.recv()) for _ in range(84)]
                own = [h["secFromStart"] for h in heard if h["sensorID"] == SENSORS[0].id]
                assert own == [15 + 0.25 * n for n in range(41)] + [25.0]
                assert [h["prediction"] for h in heard].count(prediction) == 2
                await a.send(message(101))
                await late.recv()
            assert json.loads(last)["secFromStart"] == 25.0


async def test_a_viewer_that_never_reads_hurts_nobody(path):
    """It is closed and what it missed is counted; another viewer gets everything."""
    async with (
        backend_on(path) as backend,
        viewer(backend) as reader,
        sensor(backend, v1=False) as s,
    ):
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.connect(("127.0.0.1", int(backend.url.rsplit(":", 1)[1])))
        stuck = await connect(ws(backend, "/ws"), sock=small, max_queue=1)
        heard, sent = 0, 0
        while not backend.counters.dropped["viewer"]:
            for _ in range(100):
                sent += 1
                await s.send(message(sent))
            while heard < sent:
                await reader.recv()
                heard += 1
        await until(lambda: backend.health()["viewers"] == 1)
        await s.send(message(sent + 1))
        assert json.loads(await reader.recv())["secFromStart"] == (sent + 1) * 0.25
        stuck.transport.abort()


async def test_a_sensor_that_comes_back_replaces_itself(path):
    """The older connection is closed with 4409, the examination goes on."""
    async with backend_on(path) as backend, sensor(backend) as old:
        await old.send(message(1))
        await acked(old, 1)
        async with sensor(backend) as new:
            with pytest.raises(ConnectionClosed) as closed:
                await old.recv()
            assert closed.value.rcvd.code == 4409
            await new.send(message(2))
            await acked(new, 2)
            assert len(rows(path)) == 2


async def test_nothing_but_rubbish_ends_the_connection(path):
    """The hundredth bad frame in a row closes with 1008; one good frame starts the count anew."""
    async with backend_on(path) as backend, sensor(backend) as s:
        for _ in range(99):
            await s.send("rubbish")
        await s.send(message(1))
        for _ in range(99):
            await s.send("rubbish")
        await s.send(message(2))
        await acked(s, 2)
        for _ in range(100):
            await s.send("rubbish")
        with pytest.raises(ConnectionClosed) as closed:
            await acked(s, 3)  # reads refusals until the connection ends
        assert closed.value.rcvd.code == 1008


async def test_a_flood_is_held_back_and_nothing_is_lost(path):
    """With --max-rate a sensor is read at that rate; TCP makes it wait."""
    async with backend_on(path, max_rate_hz=200.0) as backend, sensor(backend) as s:
        started = asyncio.get_running_loop().time()
        for seq in range(1, 401):
            await s.send(message(seq))
        await acked(s, 400)
        assert asyncio.get_running_loop().time() - started > 0.9  # a second's burst, then 200/s
        assert backend.stored == 400


async def test_too_many_connections_are_refused(path):
    """With 503, and those inside don't notice."""
    async with backend_on(path, max_connections=1) as backend, sensor(backend) as s:
        with pytest.raises(InvalidStatus) as refused:
            await viewer(backend)
        assert refused.value.response.status_code == 503
        await s.send(message(1))
        await acked(s, 1)


async def test_a_token_may_leave_the_configuration(path):
    """Once the database has its digest; without either the backend says whose is missing."""
    without = tuple(replace(entry, token="") for entry in SENSORS)
    with pytest.raises(ConfigError, match=f"sensor {SENSORS[0].id}: no token"):
        async with backend_on(path, sensors=without[:1]):
            pass
    async with backend_on(path):
        pass
    async with backend_on(path, sensors=without) as backend:
        async with sensor(backend) as s:
            await s.send(message(1))
            await acked(s, 1)
        for token in ("wrong", ""):
            with pytest.raises(InvalidStatus):
                await sensor(backend, token=token)


async def test_viewers_cannot_take_the_sensors_room(path):
    """Whether they have shown a token or not; a sensor that comes back needs none of its own."""
    more = {"max_connections": 2, "viewer_token": "sesame"}
    async with backend_on(path, **more) as backend, AsyncExitStack() as stack:
        for _ in range(2):
            v = await stack.enter_async_context(viewer(backend))
            await v.send('{"token": "sesame"}')
        await until(lambda: backend.health()["viewers"] == 2)
        for number in (0, 1, 0):
            await stack.enter_async_context(sensor(backend, number))
        with pytest.raises(InvalidStatus) as refused:
            await viewer(backend)
        assert refused.value.response.status_code == 503
        with pytest.raises(InvalidStatus):
            await sensor(backend, 2)


async def test_strangers_at_the_door_are_few(path, monkeypatch):
    """Viewers that haven't shown their token don't crowd out those who can."""
    monkeypatch.setattr(tokens, "WAITING_MAX", 2)
    async with backend_on(path, viewer_token="sesame") as backend, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(viewer(backend))
        with pytest.raises(InvalidStatus) as refused:
            await viewer(backend)
        assert refused.value.response.status_code == 503
        shown = {"Authorization": "Bearer sesame"}
        await stack.enter_async_context(viewer(backend, additional_headers=shown))


async def test_remote_viewers_send_their_token_first(path):
    """As the first message or in the header; anything else is closed with 4401."""
    async with backend_on(path, viewer_token="sesame") as backend:
        async with viewer(backend) as v, sensor(backend) as s:
            await v.send('{"token": "sesame"}')
            await until(lambda: backend.health()["viewers"] == 1)
            await s.send(message(1))
            await v.recv()
        header = {"Authorization": "Bearer sesame"}
        async with viewer(backend, additional_headers=header):
            await until(lambda: backend.health()["viewers"] == 1)
        for first in ('{"token": "wrong"}', '{"token": 5}', "x", "[]"):
            async with viewer(backend) as v:
                await v.send(first)
                with pytest.raises(ConnectionClosed) as closed:
                    await v.recv()
                assert closed.value.rcvd.code == 4401


async def test_guessing_is_slow_and_locks_nobody_out(path, monkeypatch):
    """A sensor's token, and a viewer's in the header or as first message; one address for all."""
    monkeypatch.setattr(door, "WRONG_BURST", 5)
    monkeypatch.setattr(door, "WRONG_PAUSE_MAX_S", 1.0)
    monkeypatch.setattr(door, "RIGHT_PAUSE_S", 0.1)
    entered, answered = [], Counter()

    async def guess(kind):
        while True:
            try:
                if kind == "sensor":
                    await sensor(backend, token="wrong")
                elif kind == "header":
                    await viewer(backend, additional_headers={"Authorization": "Bearer wrong"})
                else:
                    async with viewer(backend) as v:
                        await v.send('{"token": "wrong"}')
                        await v.recv()
            except (InvalidStatus, ConnectionClosed):
                answered[kind] += 1

    async with backend_on(path, viewer_token="sesame") as backend, asyncio.TaskGroup() as tasks:
        kinds = ("sensor", "header", "message")
        guessing = [tasks.create_task(guess(kind)) for kind in 8 * kinds]
        began_s = asyncio.get_running_loop().time()
        await until(lambda: sum(answered.values()) > 12)
        for n in range(3):  # while it goes on
            async with sensor(backend, n) as s, viewer(backend) as v:
                await v.send('{"token": "sesame"}')
                await until(lambda: backend.health()["viewers"] == 1)
                await s.send(message(1))
                await acked(s, 1)
                entered.append((await asyncio.wait_for(v.recv(), 60)) is not None)
        took_s = asyncio.get_running_loop().time() - began_s
        for task in guessing:
            task.cancel()
    assert entered == [True] * 3
    at_once = 5 + len(guessing)  # the burst, and those whose wait is as long as one may be
    assert sum(answered.values()) <= at_once + took_s * (door.WRONG_PER_S + len(guessing))


async def test_no_compression_is_negotiated(path):
    """However it is offered: nothing can unfold to more than was sent."""
    async with backend_on(path) as backend, viewer(backend, compression="deflate") as v:
        assert "permessage-deflate" in v.request.headers["Sec-WebSocket-Extensions"]
        assert v.protocol.extensions == []


async def test_tls(path):
    """wss and https with a certificate of one's own."""
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    async with backend_on(path, tls=server_side) as backend:
        assert backend.url.startswith("https://")
        async with sensor(backend, ssl=client_side) as s:
            await s.send(message(1))
            await acked(s, 1)


async def test_beds_have_their_own_examinations(path):
    """Two sensors of one bed share one, the third has another; all are closed at the end."""
    async with backend_on(path) as backend:
        async with sensor(backend, 0) as a, sensor(backend, 1) as b, sensor(backend, 2) as c:
            for s in (a, b, c):
                await s.send(message(1))
                await acked(s, 1)
        await until(lambda: not backend.health()["sensors"])
    with open_reader(path) as reader:
        found = [(e["bed"], e["state"], e["samples"]) for e in reader.examinations()]
    assert found == [("one", "closed", 2), ("two", "closed", 1)]


async def test_a_resend_after_a_restart_is_stored_once(path):
    """What was committed, but perhaps not acknowledged, isn't stored twice after a restart."""
    for first, last in ((10, 20), (18, 25), (1, 3)):
        async with backend_on(path) as backend, sensor(backend) as s:
            for seq in range(first, last + 1):
                await s.send(message(seq))
            await acked(s, last)
    stored = [[r["seq"] for r in rows(path, n)] for n in (1, 2, 3)]
    assert stored == [list(range(10, 21)), list(range(21, 26)), [1, 2, 3]]


async def test_who_is_lost_is_waited_for_and_who_leaves_is_not(path):
    """S-5.3: without a close frame, and through our own stop; with one the examination ends."""
    async with backend_on(path, handover_s=30) as backend:
        for lost in (True, False):
            s = await sensor(backend)
            await s.send(message(1))
            await acked(s, 1)
            if lost:
                s.transport.abort()
            else:
                await s.close()
            await until(lambda: backend.health()["sensors"] == 0)
            assert backend.health()["examinations_open"] == int(lost)
        s = await sensor(backend)
    assert s.close_code == 1001
    async with backend_on(path, handover_s=30) as backend, sensor(backend) as s:
        assert backend.health()["examinations_open"] == 1
        await s.send(message(2))
        await acked(s, 2)
    with open_reader(path) as reader:
        assert [e["id"] for e in reader.examinations()] == [1, 2]


async def test_a_viewer_may_ask_for_a_part(path):
    """V-2.5: beds and sensors, live and of the past; others notice nothing."""
    one, two, three = (entry.id for entry in SENSORS)
    parts = {
        "": {one, two, three},
        "?bed=one": {one, two},
        "?bed=two&bed=three": {three},
        f"?sensor={two.upper()}&bed=two": {two, three},
        "?bed=nobody": set(),
    }
    async with backend_on(path) as backend, AsyncExitStack() as stack:
        sensors = [await stack.enter_async_context(sensor(backend, n)) for n in range(3)]
        viewers = {q: await stack.enter_async_context(viewer(backend, q)) for q in parts}
        await until(lambda: backend.health()["viewers"] == len(parts))
        for seq in (1, 2):
            for s in sensors:
                await s.send(message(seq))
                await acked(s, seq)
        for query, v in viewers.items():
            heard = [json.loads(await v.recv()) for _ in range(2 * len(parts[query]))]
            assert {h["sensorID"] for h in heard} == parts[query], query
        sign = "?backfill=60"
        for query in ("?bed=two", f"?sensor={one}"):
            async with viewer(backend, query.replace("?", sign + "&")) as late:
                wanted = three if "bed" in query else one
                past = [json.loads(await late.recv()) for _ in range(2)]
                assert [(h["sensorID"], h["secFromStart"]) for h in past] == [
                    (wanted, 0.25), (wanted, 0.5),
                ]  # fmt: skip
        for s in sensors:
            await s.send(message(3))
        for query, v in viewers.items():
            heard = [json.loads(await v.recv()) for _ in parts[query]]
            assert {h["secFromStart"] for h in heard} <= {0.75}, query


async def test_watch_asks_for_a_part(path):
    """`ctgkit watch --bed`: the backend sends no more than that."""
    async with (
        backend_on(path) as backend,
        connect(narrowed(backend.url, beds=("two",))) as bed,
        connect(viewer_url(narrowed(backend.url, sensors=(SENSORS[0].id[:8],)))) as beginning,
        sensor(backend) as one,
        sensor(backend, 2) as three,
    ):
        await until(lambda: backend.health()["viewers"] == 2)
        await one.send(message(1))
        assert json.loads(await beginning.recv())["sensorID"] == SENSORS[0].id
        await three.send(message(1))
        assert json.loads(await bed.recv())["sensorID"] == SENSORS[2].id
        assert json.loads(await beginning.recv())["sensorID"] == SENSORS[2].id
