"""Sensors against a small real backend: paces, acknowledges, reconnects, gives up."""

import asyncio
import math
import uuid

import pytest

from ctgkit.config import SensorEntry
from ctgkit.sensor.fleet import run_fleet
from ctgkit.sensor.settings import FleetSettings
from ctgkit.simulate.repertoire import Repertoire
from tests.sensor.backends import Backend, running, until


def credentials(count):
    return [SensorEntry(id=str(uuid.uuid4()), token=f"token-{n}") for n in range(count)]


def settings(url, *, sensors=1, rate_hz=4.0, **changes):
    values = {
        "url": url,
        "credentials": credentials(sensors),
        "make_source": Repertoire("normal-reactive", rate_hz=rate_hz).source,
        "first_seq": 1000,
        "speed": math.inf,
        "duration_s": 100.0,
        "connect_timeout_s": 5.0,
    }
    return FleetSettings(**values | changes)


def expected(one, number=0, count=400):
    """Return the samples that sensor *number* should have sent, as wire objects."""
    chunk = one.make_source(number).read(count)
    return [
        {
            "sensorID": one.credentials[number].id,
            "secFromStart": sec,
            "data": {
                "BPMChild": None if math.isnan(fhr) else fhr,
                "uterus": uterus,
                "spasms": spasms,
            },
            "seq": one.first_seq + n,
        }
        for n, (sec, fhr, uterus, spasms) in enumerate(
            zip(*(c.tolist() for c in chunk), strict=True)
        )
    ]


async def test_every_sample_arrives_once_in_order_and_is_acked():
    """With acks: the trace itself, numbered; the connection closes with 1000."""
    backend = Backend()
    async with running(backend) as url:
        one = settings(url)
        summary = await run_fleet(one)
    assert [s for _, s in backend.received] == expected(one)
    assert backend.close_codes == [1000]
    assert (summary.sent, summary.acked, summary.unacked, summary.resent) == (400, 400, 0, 0)
    assert (summary.reconnects, summary.failures, summary.lag_ms) == (0, (), None)


async def test_without_acks_samples_carry_no_seq():
    """A backend that doesn't speak ctgkit.v1 gets the specification's messages."""
    backend = Backend()
    async with running(backend, acks=False) as url:
        one = settings(url)
        summary = await run_fleet(one)
    assert all("seq" not in s for _, s in backend.received)
    assert [s | {"seq": 1000 + n} for n, (_, s) in enumerate(backend.received)] == expected(one)
    assert (summary.sent, summary.acked, summary.unacked) == (400, 0, 0)


@pytest.mark.parametrize("drop_after", [37, 150])
async def test_dropped_connections_lose_nothing(drop_after):
    """Aborted again and again: the union is complete and ordered, repetitions are counted."""
    backend = Backend()
    backend.drop_after = drop_after
    async with running(backend) as url:
        one = settings(url)
        summary = await run_fleet(one)
    assert backend.samples() == expected(one)
    assert summary.reconnects >= 400 // drop_after - 1
    assert (summary.sent, summary.acked, summary.unacked) == (400, 400, 0)
    assert summary.resent >= len(backend.received) - 400


async def test_a_backend_that_goes_away_and_comes_back():
    """Data time goes on while it is away, the buffer fills, everything is there in the end."""
    backend = Backend()
    async with asyncio.TaskGroup() as tasks:
        async with running(backend) as url:
            one = settings(url, speed=200.0, duration_s=200.0, window=300)
            fleet = tasks.create_task(run_fleet(one))
            await until(lambda: len(backend.received) > 50, "samples")
        port = int(url.rpartition(":")[2].partition("/")[0])
        before = len(backend.samples())
        async with running(backend, port=port):
            summary = await fleet
    assert before < 800
    assert backend.samples() == expected(one, count=800)
    assert summary.acked == summary.sent == 800
    assert summary.reconnects == 1


async def test_a_full_window_pauses_and_the_rest_follows():
    """Without acknowledgements no more than the window is sent; an ack continues."""
    backend = Backend()
    backend.silent = True
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        one = settings(url, window=64)
        fleet = tasks.create_task(run_fleet(one))
        await until(lambda: len(backend.received) == 64, "a full window")
        backend.silent = False
        (connection,) = backend.live
        assert len(backend.received) == 64
        await backend.reply(connection, backend.received[-1][1], 1)
        summary = await fleet
    assert [s for _, s in backend.received] == expected(one)
    assert summary.acked == 400


async def test_rejected_samples_are_counted_and_not_repeated():
    """Every 10th is refused: the others are acked, the fleet ends by itself."""
    backend = Backend()
    backend.reject_every = 10
    async with running(backend) as url:
        summary = await run_fleet(settings(url))
    assert len(backend.received) == 400
    assert summary.acked + summary.rejected == 400
    assert (summary.rejected, summary.unacked) == (40, 0)


async def test_pacing_has_no_drift():
    """100 Hz for two seconds: the last sample is due 1.99 s after the first."""
    backend = Backend()
    async with running(backend) as url:
        summary = await run_fleet(settings(url, speed=25.0, duration_s=50.0))
    assert summary.sent == 200
    assert summary.rate_hz == pytest.approx(100.0, rel=0.1)
    assert summary.lag_ms.p50 <= summary.lag_ms.p99 <= summary.lag_ms.max


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_refusals_are_final(status):
    """One attempt, no retry, and the reason names the answer."""
    backend = Backend()
    backend.refuse_with = status
    async with running(backend) as url:
        summary = await run_fleet(settings(url))
    assert summary.failures == (f"answered {status}: no",)
    assert (summary.sent, backend.connections) == (0, 0)


async def test_a_busy_backend_is_asked_again():
    """503 is not final."""
    backend = Backend()
    backend.refuse_with = 503
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        fleet = tasks.create_task(run_fleet(settings(url)))
        await asyncio.sleep(0.05)
        backend.refuse_with = None
        assert (await fleet).acked == 400


async def test_nobody_listening_is_a_failure_after_the_timeout():
    """Only when no first connection was ever made."""
    async with running(Backend()) as url:
        pass
    summary = await run_fleet(settings(url, connect_timeout_s=0.3))
    assert summary.sent == 0
    assert len(summary.failures) == 1
    assert "refused" in summary.failures[0] or "Connect call failed" in summary.failures[0]


async def test_a_backend_that_starts_later_is_found():
    """Terminals are opened in any order."""
    async with running(Backend()) as url:
        pass
    backend = Backend()
    async with asyncio.TaskGroup() as tasks:
        fleet = tasks.create_task(run_fleet(settings(url)))
        await asyncio.sleep(0.05)
        port = int(url.rpartition(":")[2].partition("/")[0])
        async with running(backend, port=port):
            summary = await fleet
    assert summary.acked == 400


async def test_being_replaced_is_final():
    """Close code 4409: two processes would fight for ever."""
    backend = Backend()
    backend.close_code = 4409
    async with running(backend) as url:
        summary = await run_fleet(settings(url))
    assert backend.connections == 1
    assert "connected a second time" in summary.failures[0]


@pytest.mark.parametrize("code", [1007, 1008, 1009])
async def test_a_refused_frame_is_dropped_and_nothing_else(code):
    """It would be refused for ever, and with it all that wait behind it."""
    backend = Backend()
    backend.chokes_on = (1007, code)
    async with running(backend) as url:
        one = settings(url, duration_s=5.0)
        summary = await run_fleet(one)
    got = [s for s in backend.samples() if s["seq"] != 1007]
    wanted = [s for s in expected(one, count=20) if s["seq"] != 1007]
    assert sorted(got, key=lambda s: s["seq"]) == wanted
    assert (summary.acked, summary.rejected, summary.unacked) == (19, 1, 0)
    assert list(summary.reject_reasons) == [f"closed with {code}: {REASONS[code]}"]
    assert backend.connections == 3  # all at once, alone, and on


REASONS = {
    1007: "a sample is no UTF-8",
    1008: "a sample breaks its rules",
    1009: "a sample is too large",
}


async def test_without_acknowledgements_it_dials_again(monkeypatch):
    """What isn't answered may be stuck in one connection."""
    monkeypatch.setattr("ctgkit.sensor.client.ACK_PATIENCE_S", 0.1)
    backend = Backend()
    backend.silent = True
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        one = settings(url, duration_s=5.0, flush_timeout_s=60.0)
        fleet = tasks.create_task(run_fleet(one))
        await until(lambda: backend.connections == 2, "a second connection")
        backend.silent = False
        summary = await fleet
    assert (summary.acked, summary.unacked) == (20, 0)
    assert backend.samples() == expected(one, count=20)


async def test_one_bad_sensor_doesnt_stop_the_others():
    """A wrong token fails one of three; the failure is in the summary."""
    backend = Backend()
    backend.token = "right"
    three = [SensorEntry(id=str(uuid.uuid4()), token=t) for t in ("right", "wrong", "right")]
    async with running(backend) as url:
        summary = await run_fleet(settings(url, credentials=three))
    assert (summary.sensors, summary.acked) == (3, 800)
    assert summary.failures == ("answered 401: no",)


async def test_many_sensors_each_play_their_own_trace():
    """20 sensors in one process, connects spread over a ramp."""
    backend = Backend()
    async with running(backend) as url:
        one = settings(url, sensors=20, ramp_s=0.2, duration_s=10.0)
        summary = await run_fleet(one)
    for number, entry in enumerate(one.credentials):
        got = [s for sensor_id, s in backend.received if sensor_id == entry.id]
        assert got == expected(one, number, 40)
    assert summary.acked == 800


async def test_stop_flushes_and_returns():
    """Setting stop ends production; what was sent is acknowledged."""
    backend = Backend()
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        one = settings(url, sensors=2, rate_hz=100.0, speed=1.0, duration_s=math.inf)
        fleet = tasks.create_task(run_fleet(one))
        await until(lambda: len(backend.received) > 20, "samples")
        one.stop.set()
        summary = await fleet
    assert summary.acked == summary.sent == len(backend.received)
    assert backend.close_codes == [1000, 1000]


async def test_stop_while_dialling_and_in_the_ramp():
    """A fleet that never connected stops at once, without a failure."""
    async with running(Backend()) as url:
        pass
    one = settings(url, sensors=2, ramp_s=100.0, connect_timeout_s=100.0)
    async with asyncio.TaskGroup() as tasks:
        fleet = tasks.create_task(run_fleet(one))
        await asyncio.sleep(0)
        one.stop.set()
        summary = await fleet
    assert (summary.sent, summary.failures) == (0, ())


async def test_missing_acks_end_after_the_flush_timeout():
    """A silent backend doesn't hold the sensor for ever, and the loss is shown."""
    backend = Backend()
    backend.silent = True
    async with running(backend) as url:
        summary = await run_fleet(settings(url, flush_timeout_s=0.2))
    assert (summary.sent, summary.acked, summary.unacked) == (400, 0, 400)


async def test_stop_shortens_the_wait_for_acks(monkeypatch):
    """A fleet that has played to its end and waits for acknowledgements stops soon, too."""
    monkeypatch.setattr("ctgkit.sensor.client.STOP_FLUSH_S", 0.1)
    backend = Backend()
    backend.silent = True
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        one = settings(url, flush_timeout_s=1000.0)
        fleet = tasks.create_task(run_fleet(one))
        await until(lambda: len(backend.received) == 400, "samples")
        one.stop.set()
        assert (await fleet).unacked == 400


async def test_an_unreadable_reply_is_logged_and_survived(caplog):
    """Garbage from the backend doesn't end the sensor."""
    backend = Backend()
    answer = backend.reply

    async def garbage_first(connection, sample, n):
        if n == 1:
            await connection.send('{"what": 1}')
        await answer(connection, sample, n)

    backend.reply = garbage_first
    async with running(backend) as url:
        summary = await run_fleet(settings(url))
    assert summary.acked == 400
    assert "unreadable reply" in caplog.text
