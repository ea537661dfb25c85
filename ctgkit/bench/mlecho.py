"""An ML service that answers every sample at once and has no opinion."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ctgkit.clock import utc_timestamp
from ctgkit.errors import Unreachable, WireError
from ctgkit.net.frames import send_frames, text_frame
from ctgkit.net.origins import Rules
from ctgkit.net.server import listen, open_server
from ctgkit.wire import decode_request, encode_error_result, encode_result


@asynccontextmanager
async def ml_echo(host: str, port: int, dialled_within_s: float) -> AsyncIterator[None]:
    """Be the backend's ML service until the context ends; enter when the backend has dialled.

    Raises
    ------
    ConfigError
        When the address cannot be bound.
    Unreachable
        When the backend doesn't dial it in time.
    """
    linked = asyncio.Event()

    async def converse(link: ServerConnection) -> None:
        linked.set()
        try:
            async for request in link:
                await send_frames(link, (text_frame(_answer(request)),))
        except ConnectionClosed:
            pass  # the backend stopped, or dials again

    sockets = listen(host, port)
    async with await open_server(converse, lambda link, asked: None, sockets, rules=Rules()):
        try:
            async with asyncio.timeout(dialled_within_s):
                await linked.wait()
        except TimeoutError:
            reason = f"the backend didn't connect within {dialled_within_s:g} s"
            raise Unreachable(f"--ml-listen {host}:{port}", reason) from None
        yield


def _answer(request: str | bytes) -> bytes:
    try:
        return encode_result(decode_request(request), None, "ok", utc_timestamp())
    except WireError as error:
        return encode_error_result(str(error), utc_timestamp())
