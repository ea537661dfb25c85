"""Peers that send small frames as fast as a socket takes them; nothing of CTGKit's own in here.

``python -m tests.flow.flooders '{"port": …}'`` (the arguments of :func:`flood` as JSON) runs until
its time is over or stdin ends, then prints what became of it.
"""

import json
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections import Counter

MASK = bytes(4)
WRITE_BYTES = 65_536
FIN, CONT, TEXT, PING, PONG = 0x80, 0x0, 0x1, 0x9, 0xA


def frame(opcode, payload=b"", fin=FIN):
    """Return one masked frame, shorter than 126 bytes."""
    return bytes((fin | opcode, 0x80 | len(payload))) + MASK + payload


def fragmented(pieces):
    """Return a message of *pieces* one-byte fragments."""
    return (
        frame(TEXT, b"x", 0) + frame(CONT, b"x", 0) * (pieces - 2) + frame(CONT, b"x")
    )  # fmt: skip


KINDS = {
    "pings": frame(PING),
    "pongs": frame(PONG),
    "texts": frame(TEXT),
    "tiny": frame(TEXT, b"{}"),
    "fragments": fragmented(100),
    "endless": frame(TEXT, b"", 0) + frame(CONT, b"", 0) * 99,
    "mixed": frame(PING) + frame(TEXT) + frame(PONG) + fragmented(10) + frame(TEXT, b"[]"),
}
"""What is repeated. ``endless`` never ends its first message."""


class Flooder:
    """One connection at a time to one server."""

    def __init__(self, address, path, headers, load, seen):
        self._address, self._load, self._seen = address, load, seen
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {'A' * 22}==\r\n{extra}\r\n"
        ).encode()
        self.connect()

    def connect(self):
        """Begin a connection."""
        self.sock = socket.create_connection(self._address, timeout=60)
        self.sock.sendall(self._request)
        self._heard = b""
        self.sock.setblocking(False)
        self._at = 0
        self._seen["connects"] += 1

    def write(self):
        """Send some."""
        if b"\r\n\r\n" not in self._heard:
            return
        sent = self.sock.send(self._load[self._at :])
        self._at = (self._at + sent) % len(self._load)
        self._seen["bytes"] += sent

    def read(self):
        """Hear what it is told; return whether the connection stands."""
        data = self.sock.recv(WRITE_BYTES)
        self._heard = (self._heard + data)[-512:]
        return bool(data)

    def gone(self):
        """Note how the server closed it."""
        at = self._heard.rfind(b"\x88")
        known = 0 <= at <= len(self._heard) - 4 and self._heard[at + 1] >= 2
        code = struct.unpack("!H", self._heard[at + 2 : at + 4])[0] if known else 1006
        self._seen[str(code)] += 1
        self.sock.close()


def flood(*, port, path="/ws", kind="pings", count=1, seconds=10.0, again=True, headers=None):
    """Flood *count* times over; connect *again* when closed. Return what was seen.

    Returns
    -------
    Counter
        ``bytes`` sent, ``connects``, and how often each close code came.
    """
    piece = KINDS[kind]
    load = piece * max(1, WRITE_BYTES // len(piece))
    if kind == "endless":
        load = frame(TEXT, b"", 0) + frame(CONT, b"", 0) * (8 * WRITE_BYTES)
    seen = Counter(bytes=0, connects=0)
    flooders = selectors.DefaultSelector()
    both = selectors.EVENT_READ | selectors.EVENT_WRITE
    for _ in range(count):
        one = Flooder(("127.0.0.1", port), path, headers or {}, load, seen)
        flooders.register(one.sock, both, one)
    ends_s = time.monotonic() + seconds
    while flooders.get_map() and time.monotonic() < ends_s:
        for key, events in flooders.select(0.1):
            one = key.data
            try:
                if events & selectors.EVENT_WRITE:
                    one.write()
                if events & selectors.EVENT_READ and not one.read():
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            except OSError:
                flooders.unregister(one.sock)
                one.gone()
                if again and time.monotonic() < ends_s:
                    one.connect()
                    flooders.register(one.sock, both, one)
    for key in list(flooders.get_map().values()):
        key.fileobj.close()
    return seen


def end_with_stdin():
    """End when whoever started this ends."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_stdin, daemon=True).start()
    print(json.dumps(flood(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)
