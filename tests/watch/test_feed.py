"""The stream is followed through restarts of the server, over real sockets."""

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest

from ctgkit.watch.feed import Link, follow, viewer_url
from tests.watch.backend import Backend, frame, until


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws?backfill=600"),
        ("https://ctg.example/", "wss://ctg.example/ws?backfill=600"),
        ("ws://127.0.0.1:8080/ws/", "ws://127.0.0.1:8080/ws/?backfill=600"),
        ("wss://h/live?backfill=5", "wss://h/live?backfill=5"),
        ("localhost:8080", "ws://localhost:8080/ws?backfill=600"),
        ("http://[::1]:80", "ws://[::1]:80/ws?backfill=600"),
    ],
)
def test_addresses_people_write(url, expected):
    """Either scheme, with or without a path."""
    assert viewer_url(url, 600) == expected


@pytest.mark.parametrize("url", ["ftp://h", "http://", "", "http://h:99999", "recording.csv:x"])
def test_addresses_that_are_none(url):
    """They raise, and the message names them."""
    with pytest.raises(ValueError, match=r"not http|[Pp]ort"):
        viewer_url(url)


@asynccontextmanager
async def following(url, token=None):
    frames, links = [], []

    async def read():
        async with aclosing(follow(viewer_url(url, 60), token)) as stream:
            async for item in stream:
                (links if isinstance(item, Link) else frames).append(item)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(read())
        yield frames, links
        task.cancel()


async def test_reads_text_and_binary():
    """Both kinds of frames arrive as bytes, with the backfill asked for and the token shown."""
    backend = Backend(frame(1.0), frame(2.0).decode())
    async with backend.serving() as url, following(url, token="t") as (frames, links):
        await until(lambda: len(frames) == 2, "two frames")
    assert frames == [frame(1.0), frame(2.0)]
    assert backend.queries == [("/ws", {"backfill": ["60"]})]
    assert backend.tokens == ["Bearer t"]
    assert links == [("connecting", ""), ("live", "")]
    assert backend.codes == [1000]  # who goes says so, and no fault


async def test_comes_back_after_the_server_did():
    """A server that restarts on its port is found again."""
    backend = Backend(frame(1.0))
    async with backend.serving() as url, following(url) as (frames, links):
        await until(lambda: len(frames) == 1, "the first frame")
        async with asyncio.timeout(60):
            for viewer in list(backend.viewers):
                await viewer.close(1012, "restarting")
        await until(lambda: len(frames) == 2, "the frame after the restart")
    phases = [phase for phase, _ in links]
    assert phases == ["connecting", "live", "lost", "connecting", "live"]
    assert "restarting" in links[2][1]


async def test_a_refusal_is_a_reason():
    """No server, and a server without a viewer stream: told, and tried again."""
    async with following("http://127.0.0.1:9") as (_, links):
        await until(lambda: sum(phase == "lost" for phase, _ in links) >= 2, lambda: links)
    assert all(reason.isprintable() and reason for phase, reason in links if phase == "lost")
