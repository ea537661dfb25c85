"""Calling sensors' control addresses: whatever answers there."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from ctgkit.config import SensorEntry
from ctgkit.server import sensors
from ctgkit.server.sensors import SensorControls


@asynccontextmanager
async def controlled(*answers):
    """Serve a control address per answer; yield the controls, what was asked, and where."""
    asked = []
    servers = []
    for answer in answers:

        async def serve(reader, writer, answer=answer):
            asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            try:
                await answer(writer)
            finally:
                writer.close()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    entries = [
        SensorEntry(id=f"sensor-{port}", token="secret", control=f"127.0.0.1:{port}")
        for port in ports
    ]
    try:
        yield SensorControls(entries, ()), asked, [entry.control for entry in entries]
    finally:
        for server in servers:
            server.close()


def saying(text):
    async def say(writer):
        writer.write(text.encode())

    return say


async def drip(writer):
    """Say something, but never come to an end."""
    writer.write(b"HTTP/1.1 ")
    while not writer.transport.is_closing():
        writer.write(b"2")
        await asyncio.sleep(0.05)


async def test_a_redirect_is_no_success_and_is_not_followed():
    """A sensor can't send the backend to an address of its choice."""
    addresses = []

    async def redirect(writer):
        location = f"Location: http://{addresses[1]}/latest/meta-data\r\n\r\n"
        writer.write(f"HTTP/1.1 302 Found\r\n{location}".encode())

    async with controlled(redirect, saying("HTTP/1.1 200 OK\r\n\r\n")) as (controls, asked, bound):
        addresses += bound
        answer = await controls.start(1)
    assert answer.status == 400
    assert b"returned status 302" in answer.body
    assert len(asked) == 1
    assert asked[0].startswith(f"GET /api/on HTTP/1.1\r\nHost: {addresses[0]}\r\n")
    assert "secret" not in asked[0]


@pytest.mark.parametrize(
    "text", ["", "\r\n", "HTTP/1.1\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 two\r\n", "x" * 100_000]
)
async def test_what_does_not_speak_http_could_not_be_reached(text):
    """No exception, and no internal address in the answer."""
    async with controlled(saying(text)) as (controls, _, _):
        answer = await controls.start(1)
    assert answer.status == 400
    assert b"could not be reached" in answer.body
    assert b"127.0.0.1" not in answer.body


async def test_one_that_drips_holds_up_nobody(monkeypatch):
    """The time limit is for the whole answer, not for each byte."""
    monkeypatch.setattr(sensors, "TIMEOUT_S", 0.3)
    async with controlled(drip, saying("HTTP/1.1 200 OK\r\n\r\n")) as (controls, asked, _):
        answer = await controls.start(2)
    assert answer.status == 200
    assert len(asked) == 2
