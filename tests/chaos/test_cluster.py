"""Nodes behind HAProxy, with NATS and ML services: ended, updated, cut from one another, judged.

HAProxy runs the file of deploy/. `CTGKIT_ROUNDS` says how often nodes end (6 unless told);
`CTGKIT_OLDER` is the Python of an environment with the release before. Those marked slow are the
long ones of docs/scale.md; they print their figures (``-s``).
"""

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.chaos.ward import Ward, health, now_s, share
from tests.flow.clients import RawSensor, Viewer
from tests.flow.processes import ask, until, until_reports
from tests.ports import free_port
from tests.server.natsserver import nats_server, needs_nats

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
CONFIG = Path(__file__).parent.parent.parent / "deploy" / "haproxy.cfg"
ROUNDS = int(os.environ.get("CTGKIT_ROUNDS", "6"))
OLDER = os.environ.get("CTGKIT_OLDER")
SENSORS = 24

pytestmark = [pytest.mark.chaos, needs_nats]
needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")


@contextlib.contextmanager
def haproxy(config, addresses):
    """Run HAProxy on a file that takes its addresses from the environment."""
    names = ("CTGKIT_BIND", "CTGKIT_NODE_1", "CTGKIT_NODE_2")
    proxy = subprocess.Popen(
        [HAPROXY, "-db", "-f", config], env=os.environ | dict(zip(names, addresses, strict=True)),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        proxy.kill()
        proxy.wait()


@contextlib.asynccontextmanager
async def balanced(ward, **changes):
    """Run HAProxy with the file that people get, in front of a ward's nodes; yield its address."""
    port = ward.ports[-1] + 7
    text = CONFIG.read_text()
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    config = ward.system.directory / "haproxy.cfg"
    config.write_text(text)
    url = f"http://127.0.0.1:{port}"
    for sensor in ward.sensors:
        sensor.urls = [url]
    with haproxy(config, [f"127.0.0.1:{one}" for one in (port, *ward.ports)]):
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError, EOFError, ValueError):
                    if (await ask(url, "/readyz")).status == 200:
                        break
                await asyncio.sleep(0.05)
        yield url


async def shares(ward):
    return [(await health(node))["sensors"] for node in ward.nodes]


async def assert_even(ward):
    """Wait until no node has more than 1.25 times its share; return how long it took."""
    begun_s = now_s()
    async with asyncio.timeout(60):
        while max(await shares(ward)) > 1.25 * SENSORS / len(ward.nodes):
            await asyncio.sleep(0.5)
    return now_s() - begun_s


@needs_haproxy
async def test_nodes_end_one_after_another_behind_haproxy(system, postgres):
    """Stopped and killed in turn: nothing lost, nothing twice, and the shares even out again."""
    dsn = await postgres.database()
    with nats_server() as nats:
        ward = Ward(system, dsn, 2, seed=11, sensors=SENSORS, options=("--bus", nats.url))
        for number in (0, 1):
            await ward.start(number)
        viewer = Viewer()
        async with balanced(ward) as url, asyncio.TaskGroup() as tasks:
            living = await ward.life(tasks)
            viewing = tasks.create_task(viewer.watch_for_ever(url))
            for round_ in range(ROUNDS):
                node = ward.nodes[round_ // 2 % 2]
                if round_ % 2:
                    node.kill()
                else:
                    assert await node.stopped() == 0
                assert "Traceback" not in node.err
                await asyncio.sleep(random.uniform(0.5, 2.0))  # somebody notices, and acts
                await ward.start(round_ // 2 % 2)
                await ward.goes_on("every sensor is acknowledged again", 25)
            for node in ward.nodes:
                await until_reports(node.url, {"status": "ok"}, "the node is well")
            unevenly = await shares(ward)
            even_s = await assert_even(ward)
            await ward.end(living)
            ids = {sensor.entry.id for sensor in ward.sensors}
            await until(lambda: {s["sensorID"] for s in viewer.seen} == ids, "all are shown")
            viewing.cancel()
        await ward.assert_whole(dsn)
        longest_s = max(one.longest_s for one in ward.sensors)
        print(f"\n{ROUNDS} ends: {ward.acked} acked, longest without {longest_s:.1f} s;"
              f" shares {unevenly} even after {even_s:.0f} s")  # fmt: skip
        for node in ward.nodes:
            assert await node.stopped() == 0
            assert "Traceback" not in node.err


@needs_haproxy
@pytest.mark.skipif(OLDER is None, reason="CTGKIT_OLDER names no environment of the release before")
async def test_nodes_are_updated_one_after_another(system, postgres):
    """From the release before, and its schema, to this one, and its schema, under load."""
    dsn = await postgres.database()
    ward = Ward(system, dsn, 2, seed=12, sensors=SENSORS)
    for number in (0, 1):
        await ward.start(number, python=OLDER)
    async with balanced(ward), asyncio.TaskGroup() as tasks:
        living = await ward.life(tasks)
        for number in (0, 1):
            assert await ward.nodes[number].stopped() == 0
            await ward.start(number)
            await asyncio.sleep(3.0)  # the balancer knows it again, both versions serve
            await ward.goes_on("every sensor is acknowledged")
        even_s = await assert_even(ward)
        await ward.end(living)
    await ward.assert_whole(dsn)
    longest_s = max(one.longest_s for one in ward.sensors)
    print(f"\nupdated: {ward.acked} acked, longest without {longest_s:.1f} s, even after"
          f" {even_s:.0f} s")  # fmt: skip
    assert longest_s < 10


@needs_haproxy
@pytest.mark.slow
async def test_one_backend_in_the_eyes_of_the_checker(system, postgres):
    """`ctgkit check backend` with each connection at the other node."""
    dsn = await postgres.database()
    port = free_port()
    more = ("--ml", f"ws://127.0.0.1:{port}/ws/ctg", "--ml-retry", 0.2)
    with nats_server() as nats:
        ward = Ward(system, dsn, 2, seed=13, sensors=4, beds=3, options=("--bus", nats.url, *more))
        pair = ward.sensors[3].entry.id  # then comes the first one, of the same bed
        for number in (0, 1):
            await ward.start(number)
        async with balanced(ward, **{"balance leastconn": "balance roundrobin"}) as url:
            words = ("--store", dsn, "--ml-listen", f"127.0.0.1:{port}", "--handover", 15)
            more = ("--sensor-id", pair, "--allow", "M-1.1/one=each node has its own", "--json")
            checker = system.start("check", "backend", url, *words, *more)
            code = await checker.ended(500)
        said = json.loads(checker.out)
        failed = [one["id"] for one in said["verdicts"] if one["outcome"] == "fail"]
        print(f"\n{said['counts']}, exit code {code}, failed: {failed}")
        assert failed == []
        for node in ward.nodes:
            assert "Traceback" not in node.err


async def test_nats_dies_and_comes_back(system, postgres):
    """Each viewer has every sample soon after; acknowledgements don't depend on it."""
    dsn = await postgres.database()
    with nats_server() as nats:
        ward = Ward(system, dsn, 2, seed=14, options=("--bus", nats.url))
        for number in (0, 1):
            await ward.start(number)
        for node in ward.nodes:
            await until_reports(node.url, {"bus": "up"}, "it is on the bus")
        viewers = [Viewer(), Viewer()]
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(viewer.watch_for_ever(node.url))
                for viewer, node in zip(viewers, ward.nodes, strict=True)
            ]
            for viewer in viewers:
                await viewer.connected.wait()
            living = await ward.life(tasks)
            await asyncio.sleep(4.0)
            before = share([s for one in ward.sensors for s in one.waits_s], 0.99)
            for one in ward.sensors:
                one.waits_s.clear()
            nats.kill()
            await asyncio.sleep(4.0)
            during = share([s for one in ward.sensors for s in one.waits_s], 0.99)
            nats.start()
            again_s, counts = now_s(), [one.acked + 1 for one in ward.sensors]
            wanted = {
                (one.entry.id, seq / 20)
                for one, count in zip(ward.sensors, counts, strict=True)
                for seq in range(count)
            }
            for viewer in viewers:
                await until(
                    lambda v=viewer: wanted <= {(s["sensorID"], s["secFromStart"]) for s in v.seen},
                    "the viewer has every sample", 20,
                )  # fmt: skip
            seen_s = now_s() - again_s
            for node in ward.nodes:
                await until_reports(node.url, {"bus": "up"}, "it is on the bus again", 20)
            await ward.end(living)
            for task in watching:
                task.cancel()
        await ward.assert_whole(dsn)
        print(f"\nNATS away for 4 s: acknowledged p99 {before:.3f} s before, {during:.3f} s"
              f" meanwhile; viewers had all {seen_s:.1f} s after")  # fmt: skip


@pytest.mark.slow
async def test_an_ml_service_dies(system, postgres):
    """Each of its sensors has a prediction again; no sample is answered twice."""
    dsn = await postgres.database()
    services = [await system.start("ml", "--port", 0).announced() for _ in range(2)]
    words = [word for one in services for word in ("--ml", one.url)]
    ward = Ward(system, dsn, 2, seed=15, sensors=4, options=("--ml-retry", 0.2, *words))
    for number in (0, 1):
        await ward.start(number)
    sensors = [RawSensor(one.entry, window=8, pause_s=0.05) for one in ward.sensors]
    viewers = [Viewer(), Viewer()]

    def predicted():
        """Sensor -> data time of its last prediction."""
        said = [s for v in viewers for s in v.seen if s.get("prediction")]
        return {s["sensorID"]: s["secFromStart"] for s in said}

    async with asyncio.TaskGroup() as tasks:
        watching = [
            tasks.create_task(viewer.watch_for_ever(node.url))
            for viewer, node in zip(viewers, ward.nodes, strict=True)
        ]
        playing = [
            tasks.create_task(raw.play(ward.nodes[n % 2].url)) for n, raw in enumerate(sensors)
        ]
        await until(lambda: len(predicted()) == len(sensors), "all have a prediction", 240)
        services[0].kill()
        killed_s, at = now_s(), {one.entry.id: one.next / 4 for one in sensors}
        await until(
            lambda: all(predicted()[one] > since for one, since in at.items()),
            "all have a later prediction", 120,
        )  # fmt: skip
        again_s = now_s() - killed_s
        for raw in sensors:
            raw.stop.set()
        await asyncio.gather(*playing)
        for task in watching:
            task.cancel()
    for viewer in viewers:
        answered = [
            (s["sensorID"], s["secFromStart"]) for s in viewer.seen if s["status"] != "error"
        ]
        assert len(answered) == len(set(answered))
    print(f"\nan ML service killed: predictions of all sensors again after {again_s:.1f} s")
