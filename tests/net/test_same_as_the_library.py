"""Our connections against the library's own: the same bytes, the same messages, answers and closes.

What a read brought is cut into frames by ourselves (`net/messages.py`), so the library is the other
side here: each example's bytes, in the same pieces, go to a connection of its class and to ours, as
a server and as a client, read one by one and delivered together.
"""

import asyncio
import base64
import hashlib
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from ctgkit.net.connection import BoundedClient
from ctgkit.net.newcomers import BoundedConnection

MAX_BYTES = 5_000
REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
ENOUGH_TURNS = 12


class Wire(asyncio.Transport):
    """A socket in memory: pieces wait while nobody reads."""

    def __init__(self, connection):
        super().__init__()
        self._connection, self._pieces = connection, []
        self.written, self.ended, self.reading, self.closing = b"", False, True, False

    def arrive(self, piece):
        self._pieces.append(piece)
        while self.reading and self._pieces and not self.closing:
            self._connection.data_received(self._pieces.pop(0))

    def lose(self):
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    close = abort = lose

    def is_closing(self):
        return self.closing

    def write(self, data):
        self.written += data

    def write_eof(self):
        self.ended = True

    def can_write_eof(self):
        return True

    def pause_reading(self):
        assert self.reading
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        self.reading = True
        asyncio.get_running_loop().call_soon(self.arrive, b"") if self._pieces else None

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def get_write_buffer_size(self):
        return 0

    def get_extra_info(self, name, default=None):
        return default


class Nobody:
    """The server of a connection that has none."""

    def __init__(self):
        self.handler_tasks = set()

    async def handler(self, connection):
        pass

    def is_serving(self):
        return True


async def settled():
    for _ in range(ENOUGH_TURNS):
        await asyncio.sleep(0)


async def opened(kind, is_server):
    """Return (connection, wire) behind the handshake."""
    more = {"ping_interval": None, "close_timeout": 1}
    if is_server:
        connection = kind(ServerProtocol(max_size=MAX_BYTES), Nobody(), **more)
    else:
        protocol = ClientProtocol(parse_uri("ws://there/ws"), max_size=MAX_BYTES)
        connection = kind(protocol, **more)
    wire = Wire(connection)
    connection.connection_made(wire)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(connection.handshake())
        await settled()
        if is_server:
            wire.arrive(REQUEST)
        else:
            key = wire.written.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
            digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            wire.arrive(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
    wire.written = b""
    return connection, wire


async def history(kind, pieces, end, *, is_server, how):
    """Return what is seen of a connection after each piece of what it gets."""
    connection, wire = await opened(kind, is_server)
    got, seen = [], []

    async def one_by_one(decode):
        while True:
            got.append(await connection.recv(decode=decode))

    async def consume():
        try:
            if how == "together":
                await connection.deliver(got.extend)
                await connection.recv()
            else:
                await one_by_one(None if how == "typed" else False)
        except ConnectionClosed as error:
            seen.append((repr(error), repr(error.__cause__)))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(consume())
        await settled()
        for piece in pieces:
            if not wire.closing:
                wire.arrive(piece)
            await settled()
            seen.append((list(got), unmasked(wire.written, is_server), wire.ended, wire.closing))
        if end == "eof" and not wire.closing:
            connection.eof_received()
        await settled()
        seen.append((list(got), unmasked(wire.written, is_server), wire.ended))
        wire.lose()
    return seen


def unmasked(written, is_server):
    """Return what a connection wrote without what is random in it: a client's masks."""
    if is_server:
        return written
    at, plain = 0, b""
    while at < len(written):
        length, mask = written[at + 1] & 0x7F, written[at + 2 : at + 6]
        data = written[at + 6 : at + 6 + length]
        plain += written[at : at + 2] + bytes(b ^ mask[n % 4] for n, b in enumerate(data))
        at += 6 + length
    return plain


def frame(first, data, *, masked, mask=b"\1\2\3\4", wide=0):
    """Return a frame; *wide* is how many bytes more than needed its length takes."""
    size = len(data)
    marker = 126 if wide == 2 or 125 < size < 65536 else size
    marker = 127 if wide == 8 or size > 65535 else marker
    length = b"" if marker < 126 else size.to_bytes(2 if marker == 126 else 8)
    head = bytes((first, marker | 0x80 * masked)) + length
    if not masked:
        return head + data
    return head + mask + bytes(b ^ mask[n % 4] for n, b in enumerate(data))


SIZES = st.sampled_from([0, 1, 15, 16, 100, 124, 125, 126, 127, 300, 4086, 4090, 4096, 4100, 4999])
TEXTS = st.one_of(
    st.binary(max_size=20),
    SIZES.map(lambda n: b'{"a":"' + b"x" * n + b'"}'),
    st.sampled_from([4_999, 5_000, 5_001, 65_535, 65_536]).map(lambda n: b"y" * n),
    st.text(max_size=5).map(str.encode),
)


@st.composite
def streams(draw, masked):
    """Draw what a peer sends: mostly whole messages, and everything that may go wrong."""
    firsts = st.sampled_from(
        [0x81] * 8
        + [0x82, 0x82, 0x01, 0x02, 0x00, 0x80, 0x80, 0x89, 0x8A, 0x88, 0x09, 0x83, 0xC1, 0x91]
    )
    parts = []
    for _ in range(draw(st.integers(0, 12))):
        first = draw(firsts)
        if first == 0x88:
            data = draw(
                st.sampled_from(
                    [b"", b"\3\xe8", b"\3\xe8bye", b"\3\xe8\xff", b"\0\1", b"\3", b"z" * 126]
                )
            )
        elif first & 8:
            data = draw(st.binary(max_size=10) | st.just(b"p" * 125) | st.just(b"p" * 126))
        else:
            data = draw(TEXTS | st.just(frame(0x81, b"inside", masked=masked, mask=bytes(4)) * 9))
        wrong = draw(st.integers(0, 30)) == 0
        mask = draw(st.just(bytes(4)) | st.binary(min_size=4, max_size=4))
        parts.append(
            frame(
                first, data, masked=masked is not wrong, mask=mask,
                wide=draw(st.sampled_from([0] * 10 + [2, 8])),
            )
        )  # fmt: skip
    stream = b"".join(parts)
    if draw(st.integers(0, 5)) == 0:
        stream += draw(st.binary(max_size=20))
    if stream and draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(stream) - 1))
        stream = stream[:at] + draw(st.binary(min_size=1, max_size=1)) + stream[at + 1 :]
    if draw(st.booleans()):
        near = [0]
        for part in parts:  # cuts near the frames' edges are what matters
            near.append(near[-1] + len(part))
        edges = st.builds(lambda a, b: a + b, st.sampled_from(near), st.integers(-2, 15))
        cuts = draw(st.lists(edges, max_size=8))
    else:
        cuts = draw(st.lists(st.integers(0, len(stream)), max_size=8))
    cuts = sorted({0, len(stream), *(cut for cut in cuts if 0 < cut < len(stream))})
    return [stream[a:b] for a, b in pairwise(cuts)]


def same(pieces, end, *, is_server):
    """Compare the library's connection with ours, in each way of reading it."""
    ours, theirs = (
        (BoundedConnection, ServerConnection) if is_server else (BoundedClient, ClientConnection)
    )

    async def run():
        for how in ("typed", "bytes"):
            wanted = await history(theirs, pieces, end, is_server=is_server, how=how)
            assert await history(ours, pieces, end, is_server=is_server, how=how) == wanted
        assert await history(ours, pieces, end, is_server=is_server, how="together") == wanted

    asyncio.run(run())


INSIDE = frame(0x81, b"inside", masked=True, mask=bytes(4)) * 2
"""What looks like messages, but is within one."""
ENDS = st.sampled_from(["eof", "lost"])


@given(streams(masked=True), ENDS)
@example([b"\x81", b"\x85\0\0\0\0hell", b"o"], "eof")
@example([frame(0x01, b"a", masked=True) + frame(0x81, b"b", masked=True)], "lost")
@example([frame(0x01, b"a", masked=True) * 2], "lost")
@example([b"\x81\xfe\x13\x89"], "lost")  # longer than it may be, before its mask came
@example([frame(0x81, b"x" * 5_001, masked=True)], "lost")
@example([b"\x83\xfe", b"\0\x80"], "lost")  # no such opcode, before its length came
@example([frame(0x01, b"x" * 4_990, masked=True) + b"\x81\xe4", b"\0" * 9], "lost")
@example([b"\x02\xb6" + bytes(4), INSIDE, INSIDE[:54], frame(0x80, b".", masked=True)], "lost")
def test_a_server(pieces, end):
    same(pieces, end, is_server=True)


@given(streams(masked=False), ENDS)
@example([b"\x81\x05hell"], "eof")
@example([b"\x89\x01", b"p\x81\x02hi"], "eof")
def test_a_client(pieces, end):
    same(pieces, end, is_server=False)
