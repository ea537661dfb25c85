"""The proxy: what passes is what was sent, refusals and close codes too."""

import asyncio
import contextlib

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ctgkit.recording.journal import JournalReader
from ctgkit.wire import SUBPROTOCOL
from tests.recording.parties import recording

FRAMES = ['{"a": 1}', b"\x00\xff", "ещё", ""]


@contextlib.asynccontextmanager
async def target(handler, **more):
    async with serve(handler, "127.0.0.1", 0, compression=None, **more) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def lines_of(path, what):
    return [line for line in JournalReader(path) if line.what == what]


async def test_messages_headers_and_subprotocol_pass_both_ways(tmp_path):
    """Kinds of frames, bad UTF-8, path, query, token: all arrive; the recording has no token."""
    seen = {}

    async def echo(connection):
        seen["path"] = connection.request.path
        seen["token"] = connection.request.headers["X-Auth-Sensor-Token"]
        seen["agents"] = connection.request.headers.get_all("User-Agent")
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = await connection.recv(decode=False)
                await connection.send(frame, text=frame != FRAMES[1])

    out = tmp_path / "run.jsonl"
    async with (
        target(echo, subprotocols=[SUBPROTOCOL]) as url,
        recording(out, to=url) as proxy,
        connect(
            f"{proxy}/ws/sensor?sensor_id=abc&token=hush",
            additional_headers={"X-Auth-Sensor-Token": "hush"},
            subprotocols=["other", SUBPROTOCOL],
            user_agent_header="agent",
        ) as client,
    ):
        assert client.subprotocol == SUBPROTOCOL
        for frame in FRAMES:
            await client.send(frame)
            assert await client.recv() == frame
        await client.send(b'{"cut \xff', text=True)
        assert await client.recv(decode=False) == b'{"cut \xff'
    assert seen == {
        "path": "/ws/sensor?sensor_id=abc&token=hush", "token": "hush", "agents": ["agent"],
    }  # fmt: skip
    sent = [(line.frame, line.is_text) for line in lines_of(out, ">")]
    encoded = [(f.encode(), True) if isinstance(f, str) else (f, False) for f in FRAMES]
    assert sent == [*encoded, (b'{"cut \xff', True)]
    assert [(line.frame, line.is_text) for line in lines_of(out, "<")] == sent
    assert "hush" not in out.read_text()


@pytest.mark.parametrize("code", [1000, 1008, 4409, 1005, 1006])
async def test_close_codes_pass_from_the_server(tmp_path, code):
    """With a code, without one, or broken."""

    async def leave(connection):
        await connection.send("bye")
        if code == 1006:
            connection.transport.abort()
        elif code == 1005:
            async with connection.send_context():
                connection.protocol.send_close()
        else:
            await connection.close(code, "why")

    out = tmp_path / "run.jsonl"
    async with (
        target(leave) as url,
        recording(out, to=url) as proxy,
        connect(f"{proxy}/ws") as client,
    ):
        assert await client.recv() == "bye"
        await client.wait_closed()
        assert client.close_code == code
    (closed,) = lines_of(out, "close")
    assert (closed.about["by"], closed.about["code"]) == ("server", code)


@pytest.mark.parametrize("code", [1001, 4000, 1006])
async def test_close_codes_pass_from_the_client(tmp_path, code):
    """All that it sent arrives first."""
    heard, codes = [], asyncio.Queue()

    async def listen(connection):
        with contextlib.suppress(ConnectionClosed):
            while True:
                heard.append(await connection.recv())
        codes.put_nowait(connection.close_code)

    out = tmp_path / "run.jsonl"
    async with target(listen) as url, recording(out, to=url) as proxy:
        client = await connect(f"{proxy}/ws")
        for n in range(50):
            await client.send(str(n))
        if code == 1006:
            await (await client.ping())
            client.transport.abort()
        else:
            await client.close(code)
        assert await codes.get() == code
    assert heard == [str(n) for n in range(50)]
    (closed,) = lines_of(out, "close")
    assert (closed.about["by"], closed.about["code"]) == ("client", code)


async def test_refusals_pass(tmp_path):
    """Status and body are the target's; without a target it is 502."""

    def refuse(connection, _request):
        return connection.respond(401, "who are you?\n")

    out = tmp_path / "run.jsonl"
    async with target(None, process_request=refuse) as url, recording(out, to=url) as proxy:
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"{proxy}/ws/sensor?sensor_id=x")
        assert caught.value.response.status_code == 401
        assert caught.value.response.body == b"who are you?\n"
    assert [line.about["status"] for line in lines_of(out, "refused")] == [401]
    async with recording(tmp_path / "none.jsonl", to=url) as proxy:
        with pytest.raises(InvalidStatus, match="502"):
            await connect(f"{proxy}/ws")
