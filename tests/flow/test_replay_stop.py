"""`ctgkit replay` ends when it is told to, whatever the backend does."""

import socket

import pytest

from tests.flow.processes import until


@pytest.mark.parametrize("listens", [False, True], ids=["nobody there", "never answers"])
async def test_sigterm_ends_it_while_it_dials(system, listens):
    """The first connection may be waited for as long as asked; a signal ends the waiting."""
    system.configure(1)
    with socket.socket() as backend:
        backend.bind(("127.0.0.1", 0))
        if listens:
            backend.listen()
        url = f"ws://127.0.0.1:{backend.getsockname()[1]}"
        made = system.start("generate", "--duration", "5", "--out", "in.jsonl")
        assert await made.ended() == 0
        replay = system.start("replay", "in.jsonl", "--url", url, "--connect-timeout", "9000", "-v")
        await until(lambda: "is unknown here" in replay.err, "it has begun")
        assert await replay.stopped() == 1
