"""An ML service that leaves samples without a usable answer: viewers get each of them (V-2.2)."""

import asyncio
import contextlib
import itertools
import json
import time

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from ctgkit.server.mllink import UNANSWERED_MAX
from ctgkit.server.owed import SHARE_OVER_S
from tests.server.parties import (
    SENSORS,
    backend_on,
    message,
    ml_service,
    result,
    sensor,
    until,
    viewer,
)

COUNT = 24
NOBODY = "00000000-0000-0000-0000-00000000000f"


def unless(condition, reply):
    """Answer well, except where *condition* holds of a request: then with *reply* of it."""
    return lambda request: (
        reply(request) if condition(request["secFromStart"]) else [result(request)]
    )


def every_fourth(second):
    return int(second * 4) % 4 != 0


def some(second):
    return 1 <= second < 4


def bad(**changes):
    return lambda request: [result(request, **changes)]


PREDICTION = {"hypoxia_probability": 0.2, "hypoxia_risk": "low", "alerts": [], "confidence": 1}
SERVICES = {
    "answers every fourth": unless(every_fourth, lambda request: []),
    "NaN": unless(some, lambda r: [result(r, prediction=PREDICTION).replace("0.2", "NaN")]),
    "infinity": unless(some, lambda r: [result(r, prediction=PREDICTION).replace("0.2", "1e999")]),
    "wrong id": unless(some, bad(sensorID=NOBODY)),
    "an id of another sensor": unless(some, bad(sensorID=SENSORS[2].id)),
    "no id": unless(some, bad(sensorID=None)),
    "empty id": unless(some, bad(sensorID="")),
    "another time": unless(some, bad(secFromStart=1e6)),
    "no time": unless(some, bad(secFromStart=None)),
    "time as text": unless(some, bad(secFromStart="1.0")),
    "prediction as text": unless(some, bad(prediction="none")),
    "probability as text": unless(some, bad(prediction=PREDICTION | {"confidence": "1"})),
    "alerts as text": unless(some, bad(prediction=PREDICTION | {"alerts": "low"})),
    "data as text": unless(some, bad(data="140")),
    "data as list": unless(some, bad(data=[140, 10, 0])),
    "value as text": unless(some, bad(data={"BPMChild": "140"})),
    "no data": unless(some, bad(data=None)),
    "no JSON": unless(some, lambda request: ["oh"]),
    "half a character": unless(some, lambda r: [result(r, status="x").encode()[:-2] + b'\xc3"}']),
    "errors that name nothing": unless(
        some, lambda request: ['{"status": "error", "message": "no"}']
    ),
    "pongs of text": unless(some, lambda request: ["", "", ""]),
}  # fmt: skip


async def watched(backend, times, expected=frozenset()):
    """Send samples at 20 Hz; return (data time, status) -> how long it took to see each, s."""
    clock = asyncio.get_running_loop().time
    sent, seen = {}, {}
    async with viewer(backend) as v, sensor(backend, max_queue=None) as s:
        await until(lambda: len(backend._broadcast) == 1)

        async def watch():
            async for text in v:
                shown = json.loads(text)
                second = shown["secFromStart"]
                if shown["sensorID"] == SENSORS[0].id and second in sent and shown.get("data"):
                    seen.setdefault((second, shown["status"]), clock() - sent[second])

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            for seq in times:
                sent[seq * 0.25] = clock()
                await s.send(message(seq))
                await asyncio.sleep(0.05)
            async with asyncio.timeout(60):
                await until(lambda: {second for second, _ in seen} == set(sent))
                await until(lambda: expected <= seen.keys())
            watching.cancel()
    return seen


async def test_each_sample_is_shown_in_time(tmp_path):
    """With its result, or after 2 s without one; what else comes meanwhile doesn't matter."""
    async with asyncio.TaskGroup() as tasks:
        for number, name in enumerate(SERVICES):
            tasks.create_task(suffers(tmp_path / f"{number}.db", name), name=name)


async def suffers(path, name):
    """Watch a backend with one of the services."""
    async with ml_service(SERVICES[name]) as ml_url, backend_on(path, ml_url=ml_url) as backend:
        await backend.ml_connected()
        condition = every_fourth if "fourth" in name else some
        expected = {(n / 4, "error" if condition(n / 4) else "ok") for n in range(COUNT)}
        began_s = time.monotonic()
        await watched(backend, range(COUNT), expected)
        unanswered = backend.counters.unanswered
        assert unanswered >= sum(condition(seq * 0.25) for seq in range(COUNT)), name
        assert backend.counters.asked == COUNT
        health = backend.health()
        share = health["ml_unanswered_share"]
        if time.monotonic() - began_s < SHARE_OVER_S:  # later the first ones no longer count
            assert share == pytest.approx(unanswered / COUNT, abs=0.05)
        assert share > UNANSWERED_MAX
        assert health["status"] == "degraded"
        assert f"ctgkit_samples_unanswered_total {float(unanswered)}" in (
            backend.counters.text().decode()
        )


async def test_answers_in_any_order_are_answers(tmp_path):
    """Nothing is shown as unanswered when groups of answers come backwards."""
    held = []

    def backwards(request):
        held.append(result(request))
        if len(held) < 4:
            return []
        group, held[:] = held[::-1], []
        return group

    async with (
        ml_service(backwards) as ml_url,
        backend_on(tmp_path / "x.db", ml_url=ml_url) as backend,
    ):
        await backend.ml_connected()
        seen = await watched(backend, range(COUNT))
        assert {status for _, status in seen} == {"ok"}
        assert backend.counters.unanswered == 0
        assert backend.health()["status"] == "ok"


async def test_samples_of_one_time_count_each(tmp_path):
    """A sensor whose time stands still: one answer is one sample's, not that of all."""
    answers = iter([True, False, False, True])

    async with (
        ml_service(lambda request: [result(request)] if next(answers) else []) as ml_url,
        backend_on(tmp_path / "x.db", ml_url=ml_url) as backend,
        viewer(backend) as v,
        sensor(backend) as s,
    ):
        await backend.ml_connected()
        for seq in range(4):
            await s.send(message(seq, sec=7.0))
        async with asyncio.timeout(60):
            shown = [json.loads(await v.recv())["status"] for _ in range(4)]
        assert sorted(shown) == ["error", "error", "ok", "ok"]
        assert backend.counters.unanswered == 2


async def test_a_service_that_is_always_late_is_not_healthy(tmp_path):
    """Its answers come, and none in time: they end no doubt, and health says so."""

    async def converse(connection):
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:

            async def late(at_s, text):
                await asyncio.sleep(at_s - loop.time())
                with contextlib.suppress(ConnectionClosed):
                    await connection.send(result(json.loads(text)))

            async for text in connection:
                tasks.create_task(late(loop.time() + 2.6, text))

    async with serve(converse, "127.0.0.1", 0) as service:
        ml_url = f"ws://127.0.0.1:{service.sockets[0].getsockname()[1]}/ws/ctg"
        async with backend_on(tmp_path / "a.db", ml_url=ml_url) as backend:
            await backend.ml_connected()
            seq = itertools.count()
            async with sensor(backend, max_queue=None) as s:
                while backend.counters.results["relayed"] < 10:  # late ones are relayed, too
                    await s.send(message(next(seq)))
                    await asyncio.sleep(0.05)
                health = backend.health()
            assert health["status"] == "degraded"
            assert health["ml_unanswered_share"] > 0.5
