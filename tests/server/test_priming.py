"""An ML service that is restarted, or met anew, knows what it needs of each sensor (M-2.3)."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import serve

from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.samples import Sample
from ctgkit.server import priming
from ctgkit.server.priming import Primer, relevant
from ctgkit.server.store.reader import open_reader
from tests.ports import free_port
from tests.server.parties import SENSORS, acked, backend_on, message, result, sensor, until, viewer

TIMES = st.lists(
    st.one_of(st.just(0.25), st.sampled_from([-1.0, -59.0, -61.0, -1e4, 400.0]), st.floats(0, 9)),
    max_size=60,
)


def window(seconds):
    """Return what a service that does as M-3.4 says has of the last ten minutes."""
    kept = []
    for second in seconds:
        if kept and ((second < 5 and second < kept[-1]) or second < kept[-1] - 60):
            kept = []
        kept.append(second)
    return [s for s in kept if kept[-1] - 600 <= s <= kept[-1]]


@given(TIMES)
def test_a_service_that_is_primed_has_what_one_that_heard_all_has(steps):
    """Whatever the sensor's clock did: restarted, jumped, or went back a little."""
    seconds = [10.0]
    for step in steps:
        seconds.append(max(0.0, seconds[-1] + step))
    *stored, first = [Sample("a", s, None, None, None) for s in seconds]
    if seconds[-1] >= 5:  # else it is sent none
        told = [s.sec_from_start for s in (*relevant(stored, first), first)]
        assert [s for s in window(told) if s < seconds[-1]] == [
            s for s in window(seconds) if s < seconds[-1]
        ]


@asynccontextmanager
async def noting(port, requests, answer=lambda request: [result(request)]):
    """Serve an ML service that shares nothing with ours, and notes what it is asked."""

    async def converse(connection):
        async for text in connection:
            requests.append(json.loads(text))
            for reply in answer(requests[-1]):
                await connection.send(reply)

    async with serve(converse, "127.0.0.1", port):
        yield


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("ml_format", ["nested", "flat", "both"])
async def test_a_restarted_service_is_told_the_past_first(tmp_path, ml_format):
    """In order, before what is new, marked where there is room; viewers hear nothing of it."""
    port, requests = free_port(), []
    settings = {"ml_url": f"ws://127.0.0.1:{port}", "ml_format": ml_format, "ml_retry_s": 0.05}

    def seconds(number, new):
        return [r["secFromStart"] for r in new if r["sensorID"] == SENSORS[number].id]

    def answer(request):
        return [result({"data": {"BPMChild": 1.0}} | request)]

    async with (
        backend_on(tmp_path / "x.db", **settings) as backend,
        viewer(backend) as v,
        sensor(backend) as s,
        sensor(backend, 1, v1=False) as other,
    ):
        async with noting(port, requests, answer):
            await backend.ml_connected()
            for seq in range(400):
                await s.send(message(seq, sec=2.0 * seq))
                await other.send(message(sec=1.5 * seq))
            await acked(s, 399)
            before = [json.loads(await v.recv()) for _ in range(800)]
            told = len(requests)
        await until(lambda: backend.health()["ml"] == "down")
        await s.send(message(400, sec=800.0))  # while it is away
        before.append(json.loads(await v.recv()))
        async with noting(port, requests, answer):
            await backend.ml_connected()
            for seq in range(401, 404):
                await s.send(message(seq, sec=2.0 * seq))
            await other.send(message(sec=1.0))  # it starts again: nothing to tell
            after = [json.loads(await v.recv()) for _ in range(4)]
            new = requests[told:]
    assert seconds(0, new) == [2.0 * seq for seq in range(101, 404)]  # 202 s = 802 s - 600 s
    assert seconds(1, new) == [1.0]
    marks = [r.get("past") for r in new if r["sensorID"] == SENSORS[0].id]
    past = None if ml_format == "flat" else True
    assert marks == [past] * 300 + [None] * 3
    assert not any("past" in r or "seq" in r for r in requests[:told])
    assert before[-1]["status"] == "error"
    shown = sorted(h["secFromStart"] for h in after)
    assert shown == [1.0, 802.0, 804.0, 806.0]
    assert {h["status"] for h in after} == {"ok"}
    assert backend.counters.results["past"] == 300
    with open_reader(tmp_path / "x.db") as reader:
        stored = [json.loads(body) for body in reader.predictions(1)]
    assert len(stored) == 800 + 4


@pytest.mark.usefixtures("patient")
async def test_our_service_predicts_at_once_after_a_restart(tmp_path):
    """Without the past it would need five minutes of data again."""
    port = free_port()
    url = f"ws://127.0.0.1:{port}/ws/ctg"
    async with (
        backend_on(tmp_path / "x.db", ml_url=url, ml_retry_s=0.05) as backend,
        viewer(backend) as v,
        sensor(backend) as s,
    ):
        async with MlService(MlSettings(port=port)):
            await backend.ml_connected()
            for seq in range(1300):
                await s.send(message(seq, fhr=130 + seq % 9))
            heard = [json.loads(await v.recv()) for _ in range(1300)]
        assert heard[-1]["prediction"]
        await until(lambda: backend.health()["ml"] == "down")
        async with MlService(MlSettings(port=port)):
            await backend.ml_connected()
            await s.send(message(1300))
            again = json.loads(await v.recv())
    assert (again["secFromStart"], again["status"]) == (325.0, "ok")
    assert again["prediction"]


async def test_a_service_that_doesnt_answer_the_past(tmp_path, monkeypatch):
    """The sensor goes on without; one that answers it with errors was told all the same."""
    monkeypatch.setattr(priming, "ANSWERS_WITHIN_S", 0.3)
    port, requests = free_port(), []
    settings = {"ml_url": f"ws://127.0.0.1:{port}", "ml_retry_s": 0.05}

    async def fill(backend, s):
        for seq in range(1, 401):
            await s.send(message(seq, sec=10 + seq / 4))
        await acked(s, 400)

    def picky(request):
        return [] if request.get("past") else [result(request)]

    def cross(request):
        said = '{"status": "error", "message": "old", "timestamp": "t"}'
        return [said] if request.get("past") else [result(request)]

    for name, answer, told in (("a", picky, 128), ("b", cross, 400)):
        async with (
            backend_on(tmp_path / f"{name}.db", **settings) as backend,
            sensor(backend) as s,
        ):
            await fill(backend, s)
            requests.clear()
            async with viewer(backend) as v, noting(port, requests, answer):
                await backend.ml_connected()
                await s.send(message(401, sec=200.0))
                async with asyncio.timeout(60):
                    while json.loads(await v.recv())["status"] != "ok":
                        pass  # shown without a result meanwhile
                assert [r.get("past") for r in requests] == [True] * told + [None]


async def test_what_comes_at_once_is_not_taken_for_the_past():
    """A sensor that comes back sends all that it kept: each of it is to be answered."""
    stored = [Sample("a", 100 + n / 4, None, None, None) for n in range(100)]
    sent, released = [], []

    async def past(sensor_id):
        return stored

    async def send(samples):
        sent.extend(samples)

    primer = Primer(past, send, released.extend)
    assert not any(primer.admits(sample) for sample in stored[50:])
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(primer.run())
        await until(lambda: released)
        running.cancel()
    assert sent == stored[:50]
    assert released == stored[50:]
