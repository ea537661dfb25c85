"""Control addresses: /api/on, /api/off, /api/health over real HTTP."""

import asyncio
import json
import urllib.error
import urllib.request
from http import HTTPStatus

import pytest

from ctgkit.errors import ConfigError
from ctgkit.sensor.control import listen
from ctgkit.sensor.fleet import run_fleet
from ctgkit.simulate.repertoire import Repertoire
from tests.sensor.backends import Backend, running, until
from tests.sensor.test_fleet import settings


async def get(url, headers=None):
    """Return status, headers and body of a GET."""

    asked = urllib.request.Request(url, headers=headers or {})

    def fetch():
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    return await asyncio.to_thread(fetch)


class Controlled:
    """A fleet with control addresses, running for the length of a test."""

    def __init__(self, tasks, url, **changes):
        self.addresses = []
        self.settings = settings(
            url, control=("127.0.0.1", 0), on_control=self.addresses.append, speed=1.0,
            duration_s=1e9, **changes,
        )  # fmt: skip
        self.task = tasks.create_task(run_fleet(self.settings))

    async def bound(self):
        await until(
            lambda: len(self.addresses) == len(self.settings.credentials), "control addresses"
        )
        return self.addresses

    async def stop(self):
        self.settings.stop.set()
        return await self.task


async def test_on_connects_and_off_disconnects():
    """Nothing is sent before on; each on starts data time afresh and seq goes on."""
    backend = Backend()
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        fleet = Controlled(tasks, url)
        (address,) = await fleet.bound()
        assert backend.connections == 0
        for run in (1, 2):
            status, headers, body = await get(f"{address}/api/on")
            assert (status, body) == (200, b"")
            assert headers["Access-Control-Allow-Origin"] == "*"
            await until(lambda run=run: len(backend.received) >= run, "a sample")
            assert (await get(f"{address}/api/off"))[0] == 200
            await until(lambda: not backend.live, "the disconnect")
        summary = await fleet.stop()
    starts = [s for _, s in backend.received if s["secFromStart"] == 0]
    assert len(starts) == 2
    seqs = [s["seq"] for _, s in backend.received]
    assert seqs == sorted(set(seqs))
    assert backend.close_codes == [1000, 1000]
    assert summary.acked == summary.sent == len(backend.received)


async def test_errors_are_the_ancestors():
    """On twice, off when off, dial failed: 500 with message and code."""
    backend = Backend()
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        fleet = Controlled(tasks, url)
        (address,) = await fleet.bound()

        async def error_of(path):
            status, headers, body = await get(address + path)
            assert headers["Access-Control-Allow-Origin"] == "*"
            content = json.loads(body)["error"]
            assert status == content["code"] == 500
            return content["message"]

        assert await error_of("/api/off") == "failed to disconnect: not connected"
        assert (await get(f"{address}/api/on"))[0] == 200
        assert await error_of("/api/on") == "failed to connect: already connected"
        assert (await get(f"{address}/api/off"))[0] == 200
        backend.refuse_with = 401
        assert await error_of("/api/on") == "failed to connect: answered 401: no"
        backend.refuse_with = 503
        assert await error_of("/api/on") == "failed to connect: answered 503: no"
        summary = await fleet.stop()
    assert summary.failures == (), "whoever switched it on was told"


async def test_health_and_unknown_paths():
    """Each sensor has an address of its own."""
    async with running(Backend()) as url, asyncio.TaskGroup() as tasks:
        fleet = Controlled(tasks, url, sensors=2)
        for address in await fleet.bound():
            status, headers, body = await get(f"{address}/api/health")
            assert (status, json.loads(body)) == (200, {"status": "OK"})
            assert headers["Content-Type"] == "application/json"
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert (await get(f"{address}/nothing"))[0] == 404
        summary = await fleet.stop()
    assert (summary.sensors, summary.sent) == (2, 0)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
async def test_a_foreign_page_switches_nothing(headers):
    """Neither by a script, nor by an image, nor under a name pointed at this machine."""
    backend = Backend()
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        fleet = Controlled(tasks, url)
        (address,) = await fleet.bound()
        assert (await get(f"{address}/api/on", headers))[0] == 403
        assert backend.connections == 0
        assert (await get(f"{address}/api/on", {"Origin": "http://localhost:5173"}))[0] == 200
        await until(lambda: backend.live, "the connection")
        assert (await get(f"{address}/api/off", headers))[0] == 403
        assert backend.live
        await fleet.stop()


async def test_a_token_follows_no_redirect():
    """Whoever answers at the backend's address can't have it sent to another one."""
    elsewhere = Backend()

    def redirect(connection, _request):
        answer = connection.respond(HTTPStatus.FOUND, "")
        answer.headers["Location"] = url
        return answer

    decoy_backend = Backend()
    decoy_backend.gate = redirect
    async with (
        running(elsewhere) as url,
        running(decoy_backend) as decoy,
        asyncio.TaskGroup() as tasks,
    ):
        fleet = Controlled(tasks, decoy)
        (address,) = await fleet.bound()
        status, _, body = await get(f"{address}/api/on")
        await fleet.stop()
    assert status == 500
    assert b"answered 302" in body
    assert elsewhere.connections == 0


async def test_stop_ends_running_sensors():
    """Stopping the fleet switches off what is on."""
    backend = Backend()
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        fleet = Controlled(tasks, url, sensors=2)
        for address in await fleet.bound():
            assert (await get(f"{address}/api/on"))[0] == 200
        await until(lambda: len({i for i, _ in backend.received}) == 2, "both sensors")
        await fleet.stop()
    assert backend.close_codes == [1000, 1000]


def test_a_port_in_use_is_named():
    """Consecutive ports; the one that is taken is in the message."""
    ((taken,),) = listen(("127.0.0.1", 0), 1)
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"127\.0\.0\.1:{port}: cannot listen: the port is already in use"
        ):
            listen(("127.0.0.1", port), 2)
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:65536: .*invalid port"):
        listen(("127.0.0.1", 65535), 2)


async def test_an_event_is_forced_while_it_plays():
    """inject names when the event begins; the truth has it; mistakes are named."""
    backend = Backend()
    repertoire = Repertoire("normal-reactive")
    async with running(backend) as url, asyncio.TaskGroup() as tasks:
        fleet = Controlled(tasks, url, make_source=repertoire.source)
        (address,) = await fleet.bound()
        force = address + "/api/inject?event="
        assert (await get(force + "prolonged_deceleration"))[0] == 400
        assert (await get(address + "/api/on"))[0] == 200
        status, _, body = await get(force + "prolonged_deceleration&duration_s=200")
        assert status == 200
        at_s = json.loads(body)["at_s"]
        for wrong in ("prolonged_decelerations", "acceleration&size=1e9", "acceleration&size=x"):
            status, _, body = await get(force + wrong)
            assert status == 400
            assert b"failed to inject" in body
        assert b"size='x' is not a number" in body
        for missing in ("knob=fhr.baseline_bpm", "knob=fhr.baseline_bpm&to="):
            status, _, body = await get(f"{address}/api/change?{missing}")
            assert status == 400
            assert b"to='' is not a number" in body
        await fleet.stop()
    (sensor,) = repertoire.sensors.values()
    sensor.seek(2000)
    prolonged = [e for e in sensor.events() if e.subtype == "prolonged"]
    assert [e.onset_s for e in prolonged] == [pytest.approx(at_s, abs=30)]
    assert [entry.event for entry in sensor.log] == ["prolonged_deceleration"]
