"""What one sensor is told from the page: real sensors behind their control addresses."""

import asyncio
import json
import sqlite3
import urllib.error
import urllib.request
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from ctgkit.net.query import BadQuery
from ctgkit.sensor.fleet import run_fleet
from ctgkit.sensor.settings import FleetSettings
from ctgkit.server.pageapi import start_hint
from ctgkit.server.pageasks import Order, PaperQuery
from ctgkit.simulate.repertoire import Repertoire
from tests.server.parties import SENSORS, backend_on, until, ws


def get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


async def told(backend, verb, **query):
    url = f"{backend.url}/api/sensors/one/{verb}?{urlencode(query)}"
    return await asyncio.to_thread(get, url)


def stored_bpm(path):
    """Return what is stored of a fetal heart rate, with its time."""
    sql = "SELECT sec_from_start, bpm FROM ctg WHERE bpm IS NOT NULL ORDER BY seq"
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


@asynccontextmanager
async def ward(path):
    """Run a backend, and one of our sensors that waits for it at its control address."""
    bound, repertoire = [], Repertoire("normal-reactive")
    async with asyncio.TaskGroup() as tasks:
        stop = asyncio.Event()

        def settings(url):
            return FleetSettings(
                url=url, credentials=SENSORS[:1], make_source=repertoire.source, first_seq=1,
                speed=40.0, control=("127.0.0.1", 0), on_control=bound.append,
                choose=repertoire.choose, stop=stop,
            )  # fmt: skip

        # the sensor's port is known once it listens, the backend's once it serves: a port in
        # between passes one on
        async with asyncio.timeout(60):
            relay = await asyncio.start_server(lambda r, w: pipe(r, w, target), "127.0.0.1", 0)
            target = {}
            port = relay.sockets[0].getsockname()[1]
            entries = (replace(SENSORS[0], control=f"127.0.0.1:{port}"), *SENSORS[1:])
            async with backend_on(path, sensors=entries, grace_s=60) as backend:
                tasks.create_task(run_fleet(settings(ws(backend, "/ws/sensor"))))
                await until(lambda: bound)
                target["port"] = int(bound[0].rsplit(":", 1)[1])
                try:
                    yield backend, repertoire
                finally:
                    stop.set()
                    relay.close()


async def pipe(reader, writer, target):
    """Pass a request on to the sensor, and its answer back."""
    try:
        other, to = await asyncio.open_connection("127.0.0.1", target["port"])
        to.write(await reader.readuntil(b"\r\n\r\n"))
        writer.write(await other.read())
        await writer.drain()
        to.close()
    finally:
        writer.close()


async def test_start_inject_stop(tmp_path):
    """Scenario, seed and event are chosen, kept with the examination, and can be repeated."""
    path = tmp_path / "ctg.db"
    async with ward(path) as (backend, repertoire):
        who = {"sensor": SENSORS[0].id}
        chosen = {"scenario": "late-decels-severe", "seed": 7}
        assert (await told(backend, "inject", **who, event="loss"))[0] == 400
        status, said = await told(backend, "start", **who, **chosen)
        assert (status, said["message"]) == (200, "started")
        assert (await told(backend, "start", **who))[0] == 400
        status, injected = await told(
            backend, "inject", **who, event="prolonged_deceleration", duration_s=200
        )
        assert status == 200
        for wrong in ({"event": "nothing"}, {"event": "loss", "size": "9"}):
            status, said = await told(backend, "inject", **who, **wrong)
            assert (status, "failed to inject" in said["error"]) == (400, True)
        status, changed = await told(
            backend, "change", **who, knob="fhr.baseline_bpm", to=100, ramp_s=30
        )
        assert (status, changed["message"]) == (200, "changing")
        for wrong in ({"knob": "toco.grid", "to": 1}, {"knob": "fhr.baseline_bpm", "to": 1}):
            status, said = await told(backend, "change", **who, **wrong)
            assert (status, "failed to change" in said["error"]) == (400, True)
        await until(lambda: len(stored_bpm(path)) > 20)
        assert (await told(backend, "stop", **who))[0] == 200
        with sqlite3.connect(path) as db:
            (text,) = db.execute("SELECT notes FROM examinations").fetchone()
        kept = [json.loads(line) for line in text.splitlines()]
        assert [(n["text"], n["sec"]) for n in kept] == [
            ("⚡ start, scenario late-decels-severe, seed 7", 0.0),
            ("⚡ inject, event prolonged_deceleration, duration_s 200", injected["at_s"]),
            ("⚡ change, knob fhr.baseline_bpm, to 100, ramp_s 30", changed["at_s"]),
        ]
        (played,) = repertoire.sensors.values()
        assert played.patient.scenario.id == "late-decels-severe"
        again = Repertoire("late-decels-severe", seed=7).source(0)
        (entry,) = played.log
        again.inject(entry.event, entry.at_sample, entry.size, entry.duration_s)
        (turn,) = played.changes
        again.change(turn.knob, turn.to, turn.ramp_s, turn.at_sample)
        first = Repertoire("late-decels-severe", seed=7).source(0)
        chunk, plain = again.read(2400), first.read(2400)
        rates = {s: b for s, b in zip(chunk.sec_from_start, chunk.fhr_bpm, strict=True) if b == b}
        shared = [(b, rates[s]) for s, b in stored_bpm(path) if s in rates]
        assert len(shared) > 10
        assert all(abs(a - b) < 0.01 for a, b in shared)
        assert (chunk.fhr_bpm != plain.fhr_bpm).any()


async def test_scenarios_come_from_the_library_only(tmp_path):
    """A file that somebody names over the network isn't read."""
    async with ward(tmp_path / "ctg.db") as (backend, _):
        for scenario in ("normal-reactiv", "../../etc/passwd", "x.toml"):
            status, said = await told(backend, "start", sensor=SENSORS[0].id, scenario=scenario)
            assert status == 400, said
        assert (await told(backend, "start", sensor=SENSORS[1].id))[1] == {
            "error": "this sensor has no control address"
        }


@pytest.mark.parametrize(
    ("verb", "query"),
    [("inject", {}), ("inject", {"event": ["a b"]}), ("inject", {"event": ["x"], "size": ["nan"]}),
     ("inject", {"event": ["x"], "duration_s": ["-1"]}), ("start", {"seed": ["1.5"]}),
     ("start", {"scenario": ["a/b"]}), ("start", {"seed": ["9" * 19]}),
     ("change", {"knob": ["fhr.baseline_bpm"]}), ("change", {"to": ["100"]}),
     ("change", {"knob": ["fhr.baseline_bpm"], "to": ["1e9"]})],
)  # fmt: skip
def test_what_is_no_order_is_refused(verb, query):
    with pytest.raises(BadQuery):
        Order.of(verb, query)


@pytest.mark.parametrize("name", ["speed", "range"])
def test_paper_of_a_fraction_is_refused(name):
    """Not cut to the whole number below."""
    query = {"examination": ["1"], "sensor": ["a"], "from": ["0"], "to": ["60"]}
    with pytest.raises(BadQuery):
        PaperQuery.of(query | {name: ["1.5"]})


def test_the_page_can_say_what_to_start():
    """The command is named only where it is right: one row of ports on this machine."""

    def at(*addresses):
        return start_hint([replace(SENSORS[0], control=a) for a in addresses])

    assert at("127.0.0.1:9001", "127.0.0.1:9002").endswith("--sensors 2 --control 127.0.0.1:9001")
    assert at("127.0.0.1:9001", "127.0.0.1:9003") == at("10.0.0.5:9001") == at(None) == at() == ""
