"""Promises of PROTOCOL S-6 over raw sockets: two hundred beds, two kills, and those who restart."""

import asyncio
import base64
import dataclasses
import json
import os
import struct

from ctgkit.config import write_config
from tests.flow.processes import until
from tests.ports import free_port


class RawSocket:
    """A WebSocket client of forty lines, which shares nothing with the server's library."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @classmethod
    async def dial(cls, port, entry, stream=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [
            f"GET /ws/sensor?sensor_id={entry.id} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: ctgkit.v1",
            f"X-Auth-Sensor-Token: {entry.token}",
            *([f"X-Sensor-Stream: {stream}"] if stream else []),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head.splitlines()[0], head
        return cls(reader, writer)

    def send(self, text):
        """Send one masked text frame; the mask is zero."""
        body = text.encode()
        short = len(body) <= 125
        length = bytes([0x80 | len(body)]) if short else b"\xfe" + struct.pack(">H", len(body))
        self._writer.write(b"\x81" + length + bytes(4) + body)

    async def hear(self):
        """Return the next reply."""
        while True:
            kind, length = await self._reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack(">H", await self._reader.readexactly(2))
            body = await self._reader.readexactly(length)
            if kind == 0x81:
                return json.loads(body)

    async def acked(self, seq):
        """Read until *seq* is acknowledged; return the errors."""
        errors = []
        while (reply := await self.hear()).get("ack", -1) < seq:
            if "error" in reply:
                errors.append(reply["seq"])
        return errors

    def close(self):
        self._writer.transport.abort()


def sample(seq, value):
    """Return a sample whose data time tells it from every other one of its sensor."""
    data = {"BPMChild": 140.5, "uterus": 10.0, "spasms": None}
    return json.dumps({"secFromStart": value, "data": data, "seq": seq})


class Bed:
    """A sensor that sends again what was not acknowledged; every other one names its stream."""

    def __init__(self, number, entry):
        self.entry = entry
        self.waiting = []
        self._stream = f"bed-{number}" if number % 2 else None
        self._next, self._step = number % 3, 1 + number % 2

    async def connect(self, port):
        """Dial, send what waits, and four new samples."""
        self.connection = await RawSocket.dial(port, self.entry, self._stream)
        for _ in range(4):
            self.waiting.append(self._next)
            self._next += self._step
        for seq in self.waiting:
            self.connection.send(sample(seq, seq / 4))


async def test_two_hundred_beds_and_two_kills(system):
    """Both kills come between commit and acknowledgement; each bed has its own examinations."""
    entries = [
        dataclasses.replace(entry, bed=f"bed {n}") for n, entry in enumerate(system.configure(200))
    ]
    write_config(system.directory / "ctgkit.toml", entries, replace=True)
    port = free_port()
    beds = [Bed(n, entry) for n, entry in enumerate(entries)]
    count = "SELECT count(*) FROM ctg"
    for kills in (0, 1, 2):
        backend = await system.serve(port=port).announced()
        for bed in beds:
            await bed.connect(port)
        expected = 4 * len(beds) * (kills + 1)
        await until(
            lambda expected=expected: system.query(count)[0][0] >= expected, "all is stored", 25
        )
        if kills < 2:
            backend.kill()
            for bed in beds:
                bed.connection.close()
    for bed in beds:
        assert await bed.connection.acked(bed.waiting[-1]) == []
        bed.connection.close()
    assert await backend.stopped() == 0
    assert "Traceback" not in backend.err
    system.assert_sound()
    for bed in beds:
        rows = system.query("SELECT seq, sec_from_start FROM ctg WHERE uuid = ?", bed.entry.id)
        assert sorted(rows) == [(seq, seq / 4) for seq in bed.waiting]


async def test_numbers_between_those_of_an_earlier_examination(system):
    """After 100, 110 and 120 a new examination gets 105 and 115: they are stored."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    port = int(backend.url.rpartition(":")[2])
    still_open = "SELECT count(*) FROM examinations WHERE end_time IS NULL"
    for seqs in ((100, 110, 120), (105, 115)):
        connection = await RawSocket.dial(port, entry)
        for seq in seqs:
            connection.send(sample(seq, seq / 4))
        assert await connection.acked(seqs[-1]) == []
        connection.close()
        await until(lambda: system.query(still_open) == [(0,)], "the examination was closed")
    rows = system.query("SELECT examination_id, seq FROM ctg ORDER BY id")
    assert rows == [(1, 100), (1, 110), (1, 120), (2, 105), (2, 115)]


async def test_a_restart_while_another_sensor_keeps_the_bed_open(system):
    """New values under old numbers are stored; a number used twice in one connection is refused."""
    entry, other = system.configure(2)
    backend = await system.serve().announced()
    port = int(backend.url.rpartition(":")[2])
    keeper = await RawSocket.dial(port, other)
    keeper.send(sample(1, 1.0))
    await keeper.acked(1)
    value = 0.0
    for stream in (None, None, "first-run", "second-run"):
        connection = await RawSocket.dial(port, entry, stream)
        texts = [sample(seq, value := value + 0.25) for seq in range(4)]
        for text in texts:
            connection.send(text)
        assert await connection.acked(3) == []
        connection.send(sample(2, value + 1000))
        assert (await connection.hear())["seq"] == 2
        connection.send(f"[{texts[0]}, {sample(3, value + 1000)}, {texts[3]}]")
        assert await connection.acked(3) == [3]
        connection.close()
    keeper.close()
    assert await backend.stopped() == 0
    rows = system.query("SELECT sec_from_start FROM ctg WHERE uuid = ? ORDER BY id", entry.id)
    assert [sec for (sec,) in rows] == [n / 4 for n in range(1, 17)]
    assert system.query("SELECT count(*) FROM examinations") == [(1,)]
