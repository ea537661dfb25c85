"""Hostile inputs: HTTP requests, WebSocket frames, messages, drawn from a random generator."""

import json
import struct
from functools import partial

from tests.fuzz.mutation import mutated

MASK = b"\x12\x34\x56\x78"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "CONNECT", "PRI", "get", "G\0T", "")
VERSIONS = ("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", "")
ENDS = ("\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n\t", "")
HEADERS = (
    "Content-Length: 5", "Content-Length: -1", "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 99999999999999999999", "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 3", "Transfer-Encoding : chunked",
    "Expect: 100-continue", "Host: evil.example", "Host:", "Host: [::1", "Host: a:b:c",
    "Origin: null", "Origin: http://[", "Origin: \xe9", "Upgrade: h2c", "Upgrade: \xff",
    "Sec-WebSocket-Key: short", "Sec-WebSocket-Key: \xff\xff", "Sec-WebSocket-Version: 99",
    "Sec-WebSocket-Version: x", "Sec-WebSocket-Protocol: ,,;", "Sec-WebSocket-Protocol: \xe9",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",
    "Sec-WebSocket-Extensions: ;;==", "X-Auth-Sensor-Token: \xff\xfe", "X-Auth-Sensor-Token:",
    "Authorization: Bearer \x80", "No colon at all", ": empty name", "X: " + "y" * 9_000,
    "X: 1\r\n folded", "Connection: close, upgrade", "Cookie: " + "a=b; " * 50,
)  # fmt: skip


def handshake(path, host, *, token=None, protocol=None):
    """Return a valid upgrade request."""
    lines = [
        f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}",
    ]  # fmt: skip
    lines += [f"X-Auth-Sensor-Token: {token}"] if token else []
    lines += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def request(luck, paths, host):
    """Return an HTTP request with something wrong, perhaps a second one behind it, or noise."""
    kind = luck.randrange(8)
    if kind == 0:
        return luck.randbytes(luck.choice((1, 20, 300, 9_000)))
    if kind < 4:
        return mutated(luck, handshake(luck.choice(paths), host))
    end = luck.choice(ENDS)
    path = luck.choice(
        (*paths, "*", "//", "/%", f"http://{host}/ws", "/ws?backfill=1e999", "/\xe9")
    )
    lines = [f"{luck.choice(METHODS)} {path} {luck.choice(VERSIONS)}", f"Host: {host}"]
    lines += luck.sample(HEADERS, luck.randrange(4))
    text = (end.join(lines) + luck.choice(("\r\n\r\n", "\n\n", end + end, ""))).encode("latin-1")
    if kind == 4:
        text += b"0\r\n\r\n" + handshake("/ws", host)
    elif kind == 5:
        text += b"5\r\nhello\r\n" + text
    return text


def frame(payload, *, opcode=1, fin=True, rsv=0, mask=MASK, claimed=None):
    """Return one WebSocket frame; *claimed* is a length that isn't the payload's."""
    length = len(payload) if claimed is None else claimed
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 65_536:
        head += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    if mask:
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        head += mask
    return head + payload


def frames(luck, valid, *, masked=True):
    """Return some frames that break RFC 6455, or whose content breaks the protocol."""
    right, wrong = (MASK, b"") if masked else (b"", MASK)
    make = partial(frame, mask=right)
    made = []
    for _ in range(luck.randint(1, 5)):
        text = luck.choice(valid)
        match luck.randrange(11):
            case 0:
                made.append(make(text, opcode=luck.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15))))
            case 1:
                made.append(frame(text, mask=wrong))
            case 2:
                made.append(make(text, rsv=luck.randint(1, 7)))
            case 3:
                far = luck.choice((len(text) + 5, 16_385, 65_536, 1 << 31, (1 << 63) - 1, 1 << 63))
                made.append(make(text, claimed=far))
            case 4:
                size, fin = luck.choice((0, 1, 125, 126)), luck.random() < 0.7
                made.append(make(luck.randbytes(size), opcode=luck.choice((8, 9, 10)), fin=fin))
            case 5:
                cut = luck.randrange(len(text))
                made += [
                    make(text[:cut], fin=False),
                    make(text[cut:], opcode=luck.choice((0, 1))),
                ]
            case 6:
                made.append(make(text, opcode=0))
            case 7:
                made.append(make(luck.randbytes(luck.choice((16_384, 16_385, 40_000)))))
            case 8:
                code = luck.choice((0, 999, 1000, 1005, 1006, 1015, 2999, 4999, 65_535))
                made.append(make(struct.pack(">H", code) + b"\xff\xfe", opcode=8))
            case 9:
                made.append(mutated(luck, make(text)))
            case _:
                made.append(make(mutated(luck, text), opcode=luck.choice((1, 2))))
    return b"".join(made)


def sample_text(seq, **more):
    """Return a valid numbered sample."""
    data = {"BPMChild": 140.5, "uterus": 15.25, "spasms": 0.0}
    return json.dumps({"secFromStart": seq / 4, "data": data, "seq": seq} | more).encode()
