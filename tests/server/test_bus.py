"""Several nodes on one NATS: what reaches whose viewers, and what doesn't depend on it."""

import asyncio
import json
import logging
import signal
import socket

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.cli.main import cli
from ctgkit.errors import Unreachable
from ctgkit.server.bus import message as wire
from ctgkit.server.bus import nats
from tests.server.natsserver import nats_server, needs_nats
from tests.server.parties import (
    SENSORS,
    acked,
    backend_on,
    hears,
    message,
    ml_service,
    nodes_on,
    result,
    sensor,
    until,
    viewer,
)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_none(data):
    """Whoever can reach NATS can say anything."""
    for decode in (wire.decode_results, wire.decode_taken):
        assert decode(data) is None or isinstance(decode(data), wire.Results | wire.Taken)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_each_loss_is_noticed(steps):
    """By the next message, or the beat, whichever is heard."""
    heard, number, lost = wire.Heard(), 0, False
    heard.missed(wire.Results("a", "r", 0))
    for has_results, is_lost in steps:
        number += has_results
        one = wire.Results("a", "r", number, [("s", b"{}")] if has_results else [])
        if is_lost:
            lost |= has_results
        else:
            assert heard.missed(one) == lost
            lost = False


def nodes(tmp_path, url, **settings):
    """Run two nodes with a database each."""
    return nodes_on(url, tmp_path / "a.db", tmp_path / "b.db", **settings)


@needs_nats
@pytest.mark.usefixtures("patient")
async def test_viewers_of_each_node_see_all_sensors(tmp_path):
    """Results byte for byte and in order, samples without one; only its own are stored by each."""

    def answer(request):
        if request["secFromStart"] == 2.0:
            return ['{"status": "error", "message": "no", "timestamp": "t"}']
        return [result(request, note="fœtus", prediction=None)]

    with nats_server() as server:
        async with (
            ml_service(answer) as url,
            nodes(tmp_path, server.url, ml_url=url) as (a, b),
            viewer(a) as near,
            viewer(b) as far,
            viewer(b, "?bed=two") as narrow,
            sensor(a) as s,
            sensor(b, 2) as other,
        ):
            for backend in (a, b):
                await backend.ml_connected()
            for seq in range(1, 31):
                await s.send(message(seq))
                await other.send(message(seq))
            seen = [[await v.recv() for _ in range(60)] for v in (near, far)]
            part = [json.loads(await narrow.recv()) for _ in range(30)]
            for name in (SENSORS[0].id, SENSORS[2].id):
                first, second = ([t for t in texts if name in t] for texts in seen)
                assert first == second
                assert [json.loads(t)["secFromStart"] for t in first] == [
                    n / 4 for n in range(1, 31)
                ]
            assert {p["sensorID"] for p in part} == {SENSORS[2].id}
            assert [json.loads(t)["status"] for t in seen[1]].count("error") == 2
            for backend in (a, b):
                await until(lambda backend=backend: backend.health()["status"] == "ok")
                await until(lambda backend=backend: backend.stored == 30)  # with the next commit
                assert backend.counters.results["others"] == 30
                text = backend.counters.text().decode()
                assert 'ctgkit_bus_results{name="received"} 30.0' in text


@needs_nats
async def test_clusters_on_one_nats_dont_hear_one_another(tmp_path):
    """Their addresses end in different names; a stranger's messages are counted, not shown."""
    with nats_server() as server:
        async with (
            backend_on(tmp_path / "a.db", bus=server.url + "/east") as a,
            backend_on(tmp_path / "b.db", bus=server.url + "/west") as b,
            viewer(b) as v,
            sensor(a) as s,
            sensor(b, 2) as own,
        ):
            await hears(a)
            await hears(b)
            await s.send(message(1))
            await acked(s, 1)
            client = nats.Client()
            await client.connect(server.url, error_cb=_ignore)
            subject = f"west.v{wire.VERSION}.results"
            rubbish = [
                b"", b"\x93", b"[]", msgspec.msgpack.encode(["x", "y", 1, [["s", "no bytes"]]]),
                *(
                    wire.encode(wire.Results("x", "y", 1, [(SENSORS[0].id, text)]))
                    for text in (b"", b"{", b"[]", b'{"sensorID": "nobody"}', b'{"a": "\xff"}')
                ),
            ]  # fmt: skip
            for data in rubbish:
                await client.publish(subject, data)
            await client.publish(f"west.v{wire.VERSION}.taken", b"\xc1")
            await client.flush()
            await until(lambda: b.counters.results["garbage"] == 5)
            await until(lambda: "ctgkit_bus_strange" in b.counters.text().decode())
            await own.send(message(1))
            assert json.loads(await v.recv())["sensorID"] == SENSORS[2].id
            await client.close()


async def _ignore(error):
    pass


@needs_nats
async def test_nats_dies_hangs_and_comes_back(tmp_path, monkeypatch):
    """Samples are acknowledged and own sensors shown all the while; health says what is away."""
    with nats_server() as server:
        async with (
            nodes(tmp_path, server.url) as (a, b),
            viewer(a) as near,
            viewer(b) as far,
            sensor(a) as s,
        ):
            seq = 0

            async def one():
                nonlocal seq
                seq += 1
                await s.send(message(seq))
                async with asyncio.timeout(20):
                    await acked(s, seq)
                    assert json.loads(await near.recv())["secFromStart"] == seq / 4

            async def arrives():
                while json.loads(await far.recv())["secFromStart"] != seq / 4:
                    pass

            await one()
            await arrives()
            server.kill()
            await until(lambda: {x.health()["bus"] for x in (a, b)} == {"down"})
            assert a.health()["status"] == "degraded"
            for _ in range(10):
                await one()
            server.start()
            for backend in (a, b):
                await hears(backend)
            await one()
            await arrives()
            server.send_signal(signal.SIGSTOP)
            for _ in range(10):
                await one()
            await until(lambda: a.health()["bus"] == "down")
            server.send_signal(signal.SIGCONT)
            for backend in (a, b):
                await hears(backend)
            await one()
            await arrives()
            assert b.health()["bus_missed"] >= 2


@needs_nats
async def test_what_is_said_is_bounded(tmp_path):
    """With NATS away nothing grows; the oldest go, and a result that is too long doesn't travel."""
    bus = nats.NatsBus("nats://127.0.0.1:1", "a", lambda texts: None, lambda s, why: None)
    for n in range(3 * nats.QUEUE_MAX):
        bus.publish([("s", b"%d" % n)])
    assert len(bus._queue) == bus._queued == nats.QUEUE_MAX
    assert bus.dropped == 2 * nats.QUEUE_MAX
    for _ in range(100):
        bus.publish([("s", bytes(100_000))])
    assert bus._queued_bytes <= nats.QUEUE_MAX_BYTES
    before = bus.dropped
    bus.publish([("s", bytes(nats.RESULT_MAX_BYTES + 1))])
    assert bus.dropped == before + 1
    sizes = []
    while bus._queue:
        group = bus._group()
        sizes.append(sum(len(text) for _, text in group))
    assert max(sizes) <= nats.GROUP_MAX_BYTES
    assert (bus._queued, bus._queued_bytes) == (0, 0)


@needs_nats
async def test_a_nats_that_takes_little(tmp_path):
    """Groups that it refuses are missed, as if they were lost; smaller ones arrive."""
    config = tmp_path / "nats.conf"
    config.write_text("max_payload: 4096\n")
    with nats_server("-c", config) as server:
        async with nodes(tmp_path, server.url) as (a, b), viewer(b) as far, sensor(a) as s:
            await s.send(f"[{','.join(message(seq) for seq in range(1, 60))}]")
            await acked(s, 59)
            await until(lambda: a.counters.gauges["bus_results", "dropped"]() >= 59)
            await s.send(message(60))
            assert json.loads(await far.recv())["secFromStart"] == 15.0
            await until(lambda: b.health()["bus_missed"] >= 2)


REFUSALS = {
    "wrong password": ("--user ctg --pass right", "nats://ctg:wr0ng@", "is wrong"),
    "no password": ("--user ctg --pass right", "nats://", "is wrong"),
    "wrong token": ("--auth right", "nats://wr0ng@", "is wrong"),
}


@needs_nats
@pytest.mark.parametrize("name", REFUSALS)
async def test_who_is_not_let_in_doesnt_start(tmp_path, caplog, name):
    """One line that says why, without the password; the database isn't made."""
    options, prefix, reason = REFUSALS[name]
    caplog.set_level(logging.DEBUG)
    with nats_server(*options.split()) as server:
        url = server.url.replace("nats://", prefix)
        with pytest.raises(Unreachable, match=reason) as refused:
            async with backend_on(tmp_path / "x.db", bus=url):
                pass
        assert f"127.0.0.1:{server.port}" in str(refused.value)
        assert "wr0ng" not in str(refused.value) + caplog.text
        assert not (tmp_path / "x.db").exists()
        good = server.url.replace(
            "nats://", "nats://ctg:right@" if "user" in options else "nats://right@"
        )
        async with backend_on(tmp_path / "x.db", bus=good) as backend:
            await hears(backend)
            assert "right" not in caplog.text + json.dumps(backend.health())


async def test_something_else_listens_there(tmp_path, monkeypatch):
    """An HTTP server is no NATS: that is said at once. Nobody there is no reason not to serve."""

    async def greet(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match="not a NATS server"):
            async with backend_on(tmp_path / "x.db", bus=f"nats://127.0.0.1:{port}"):
                pass
    monkeypatch.setattr(nats, "CONNECT_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # the kernel accepts, nobody is there
        for bus in (f"nats://127.0.0.1:{mute.getsockname()[1]}", "nats://127.0.0.1:1"):
            async with backend_on(tmp_path / "x.db", bus=bus) as backend, sensor(backend) as s:
                await s.send(message(1))
                await acked(s, 1)
                assert backend.health()["bus"] == "down"


@pytest.mark.parametrize("url", ["http://a", "nats://", "nats://user:geheim@a b", "a:4222"])
def test_addresses_that_are_none(url):
    """A usage error that doesn't repeat what may be a password."""
    done = CliRunner().invoke(cli, ["serve", "--bus", url])
    assert done.exit_code == 2
    assert "nats://[USER" in done.output
    assert "geheim" not in done.output


def test_passwords_are_not_shown(monkeypatch, tmp_path):
    """The command line refuses them, as `ps` would show them; `config show` leaves them out."""
    done = CliRunner().invoke(cli, ["serve", "--bus", "nats://ctg:geheim@127.0.0.1"])
    assert done.exit_code == 2
    assert "CTGKIT_SERVE_BUS" in done.output
    assert "geheim" not in done.output
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("CTGKIT_SERVE_BUS", "nats://ctg:geheim@nats/ward")
    monkeypatch.setenv("CTGKIT_SERVE_ML", "ws://ctg:geheim@ml:8081/ws/ctg")
    for as_json in ([], ["--json"]):
        done = CliRunner().invoke(cli, ["config", "show", "serve", *as_json])
        assert done.exit_code == 0
        assert "geheim" not in done.output
        assert "nats://***@nats/ward" in done.output
        assert "ws://***@ml:8081/ws/ctg" in done.output
