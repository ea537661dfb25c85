"""The fixtures, used as anybody would use them."""

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest
from websockets.sync.client import connect

from ctgkit.errors import Unreachable
from ctgkit.testing import parties


def stored(backend):
    """Return (sensor, data time, heart rate) of each stored sample."""
    with closing(sqlite3.connect(backend.database)) as db:
        return db.execute("SELECT uuid, sec_from_start, bpm FROM ctg ORDER BY id").fetchall()


def test_what_is_sent_by_hand_is_seen(ctgkit_sensor, ctgkit_viewer):
    """A sample, no signal, and a data time of one's own; then the next quarter of a second."""
    times = [ctgkit_sensor.send(140.5), ctgkit_sensor.send(None), ctgkit_sensor.send(90, sec=60)]
    times.append(ctgkit_sensor.send(91))
    last = ctgkit_viewer.wait_for(count=4)
    assert times == [0, 0.25, 60, 60.25]
    assert last["sensorID"] == ctgkit_sensor.id
    assert [m["data"]["BPMChild"] for m in ctgkit_viewer.messages] == [140.5, None, 90, 91]


def test_waiting_after_forgetting_is_for_new_messages(ctgkit_sensor, ctgkit_viewer):
    """What was seen before doesn't count any more, what came since does."""
    ctgkit_sensor.send(140)
    ctgkit_viewer.wait_for()
    ctgkit_viewer.forget()
    assert ctgkit_viewer.messages == []
    ctgkit_sensor.send(150)
    assert ctgkit_viewer.wait_for()["data"]["BPMChild"] == 150


def test_a_scenario_is_played_and_stored(ctgkit_backend, ctgkit_sensors, ctgkit_viewer):
    """Three sensors, three patients, ten minutes each, nothing lost."""
    for sensor in ctgkit_sensors:
        assert sensor.play(duration_s=60).acked == 240
    ctgkit_viewer.wait_for(count=720)
    by_sensor = {
        s.id: [row[1:] for row in stored(ctgkit_backend) if row[0] == s.id] for s in ctgkit_sensors
    }
    assert [len(rows) for rows in by_sensor.values()] == [240] * 3
    assert len({tuple(rows) for rows in by_sensor.values()}) == 3


@pytest.mark.ctgkit_scenario("terminal-bradycardia")
def test_the_marker_chooses_the_scenario(ctgkit_sensor, ctgkit_viewer):
    """It is not what would be played by default."""
    ctgkit_sensor.play(duration_s=30)
    marked = ctgkit_viewer.wait_for(count=120)
    ctgkit_viewer.forget()
    ctgkit_sensor.play("normal-reactive", duration_s=30)
    assert ctgkit_viewer.wait_for(count=120)["data"] != marked["data"]


def test_a_sensor_plays_beside_the_test(ctgkit_sensor, ctgkit_viewer):
    """Until it is stopped."""
    ctgkit_sensor.start(speed=100)
    ctgkit_viewer.wait_for(count=50)
    summary = ctgkit_sensor.stop()
    assert summary.sent == summary.acked >= 50
    with pytest.raises(RuntimeError, match="start"):
        ctgkit_sensor.stop()


def test_the_backend_asks_the_stub_where_both_are_used(ctgkit_ml, ctgkit_sensor, ctgkit_viewer):
    """An honest prediction comes after five minutes of data."""
    ctgkit_sensor.play(duration_s=330)
    told = ctgkit_viewer.wait_for(lambda m: m["prediction"])
    assert told["secFromStart"] >= 299
    assert ctgkit_ml.counts.requests >= 1200


@pytest.mark.ctgkit_ml_script(
    {"fhr_below": 100, "prediction": {"hypoxia_probability": 0.9, "alerts": ["scripted"]}},
    {"fhr_above": 200, "answer": "garbage"},
)
@pytest.mark.usefixtures("ctgkit_ml")
def test_the_stub_does_as_scripted(ctgkit_sensor, ctgkit_viewer):
    """By rules in the marker."""
    ctgkit_sensor.send(90)
    ctgkit_sensor.send(210)
    ctgkit_sensor.send(140)
    alarm = ctgkit_viewer.wait_for(lambda m: m["status"] == "critical")
    assert alarm["prediction"]["alerts"] == ["scripted"]
    assert ctgkit_viewer.wait_for(lambda m: m["data"]["BPMChild"] == 140)["status"] == "ok"


def test_hostile_frames_go_out_as_they_are(ctgkit_backend, ctgkit_sensor, ctgkit_viewer):
    """Nothing comes of them, and the sensor goes on."""
    ctgkit_sensor.send_frame('{"broken', b"\xff\xfe", "[]")
    ctgkit_sensor.send(133)
    assert ctgkit_viewer.wait_for()["data"]["BPMChild"] == 133

    def flood():
        for _ in range(1000):
            ctgkit_sensor.send_frame("nothing")

    with pytest.raises(Unreachable, match="1008"):
        flood()
    ctgkit_sensor.leave(abruptly=True)
    ctgkit_sensor.send(134)
    ctgkit_viewer.wait_for(count=2)


def test_a_sensor_does_one_thing_at_a_time(ctgkit_sensor):
    """Playing closes the connection of the hand; sending by hand while playing is a mistake."""
    ctgkit_sensor.send(140)
    ctgkit_sensor.start(speed=10)
    with pytest.raises(RuntimeError, match="stop"):
        ctgkit_sensor.send(140)


def test_a_backend_goes_away_and_comes_back(ctgkit_backend, ctgkit_sensor, ctgkit_viewer):
    """On the same port, with what it had stored; a consumer's reconnect can be tested."""
    ctgkit_sensor.play(duration_s=10)
    ctgkit_backend.stop()
    with pytest.raises(AssertionError, match="1001"):
        ctgkit_viewer.wait_for(lambda m: False)
    with pytest.raises(Unreachable, match="let in"):
        ctgkit_sensor.send(140)
    ctgkit_backend.start()
    with connect(ctgkit_backend.viewer_url, proxy=None) as again:
        ctgkit_sensor.send(141)
        assert json.loads(again.recv(10))["data"]["BPMChild"] == 141
    ctgkit_backend.stop()
    assert len(stored(ctgkit_backend)) == 41


async def test_all_of_it_on_ones_own_loop(ctgkit_async):
    """The parties of an ``async`` test."""
    async with (
        ctgkit_async.ml() as ml,
        ctgkit_async.backend(ml.url) as backend,
        ctgkit_async.sensors(backend) as sensors,
        ctgkit_async.viewer(backend) as viewer,
    ):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sensors[0].play(duration_s=10))
            tasks.create_task(sensors[1].play(duration_s=10))
            await viewer.wait_for(lambda m: m["sensorID"] == sensors[1].id, count=40)
        await sensors[0].send(143)
        async with ctgkit_async.viewer(backend, backfill_s=60) as late:
            await late.wait_for(lambda m: m["data"]["BPMChild"] == 143)


async def test_a_viewer_leaves_in_order_with_messages_unread(ctgkit_async):
    """They don't hold up its close (for ten seconds, when it had stopped reading)."""
    async with (
        ctgkit_async.backend() as backend,
        ctgkit_async.sensors(backend) as sensors,
        ctgkit_async.viewer(backend) as viewer,
    ):
        await sensors[0].play(duration_s=600)
    with pytest.raises(AssertionError, match=r"then received 1000 \(OK\)"):
        await viewer.wait_for(lambda message: False)


async def test_what_a_block_raises_comes_out_as_it_is(ctgkit_async):
    """Not in an exception group, whichever parties are around it."""

    async def failing():
        async with (
            ctgkit_async.ml(),
            ctgkit_async.backend() as backend,
            ctgkit_async.sensors(backend),
            ctgkit_async.viewer(backend),
        ):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()


async def test_an_ml_service_that_isnt_there_is_named(ctgkit_async, monkeypatch):
    """Instead of waiting for ever."""
    monkeypatch.setattr(parties, "ML_TIMEOUT_S", 0.2)
    with pytest.raises(Unreachable, match="found no ML service"):
        async with ctgkit_async.backend("ws://127.0.0.1:9/ws/ctg"):
            pass
