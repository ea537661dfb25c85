"""Bytes a little wrong: what a fuzzer makes of something valid."""

TOKENS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b" ", b"\n", b"\r\n", b"\t", b"\0", b"\xff",
    b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000", b"null", b"true", b"NaN",
    b"-Infinity", b"1e999", b"-1", b"0", b"1e-320", b"9223372036854775808", b"0.1" * 9, b"[" * 40,
    b'{"data":' * 40, b'"seq":', b'"data":', b'"sensorID":', b"%00", b"%ff", b"../", b"?", b"#",
    b";", b"\x1b[2J", b"<script>", "\u202e\u0130\u2028".encode(), b"A" * 300,
)  # fmt: skip
"""What has confused parsers before."""


def mutated(luck, valid):
    """Return *valid* with up to four small changes."""
    data = bytearray(valid)
    for _ in range(luck.randint(1, 4)):
        at = luck.randint(0, len(data))
        to = min(len(data), at + luck.randint(1, 12))
        match luck.randrange(7):
            case 0:
                data[at:at] = luck.choice(TOKENS)
            case 1:
                data[at:to] = luck.choice(TOKENS)
            case 2:
                del data[at:to]
            case 3:
                data[at:at] = data[at:to] * luck.choice((1, 2, 50))
            case 4 if data:
                data[luck.randrange(len(data))] ^= 1 << luck.randrange(8)
            case 5:
                data[at:to] = luck.randbytes(to - at)
            case _:
                del data[at:]
    return bytes(data)
