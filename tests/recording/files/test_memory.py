"""A day of a ward: recordings are never held whole."""

import json
import subprocess
import sys

import pytest

N_SENSORS = 20
WRITE = """
import sys
from pathlib import Path
from ctgkit.recording.format import VERSION, Header, Line
from ctgkit.recording.journal import JournalWriter
hours = float(sys.argv[1])
with JournalWriter(Path(sys.argv[2]), Header(version=VERSION)) as journal:
    journal.write(Line(0, "v1", "open", about={"path": "/ws"}))
    for n in range(20):
        path = f"/ws/sensor?sensor_id=0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d{n:02x}"
        journal.write(Line(0, f"s{n}", "open", about={"path": path, "offered": []}))
    for k in range(int(hours * 14400)):
        text = '{"sensorID":"","secFromStart":%.2f,"data":{"BPMChild":%.2f,"uterus":1,"spasms":0}}'
        frame = (text % (k / 4, 120 + k % 160 / 4)).encode()
        for n in range(20):
            journal.write(Line(k / 4, f"s{n}", ">", frame))
"""
READ = """
import resource, sys, time
from pathlib import Path
from ctgkit.recording.journal import JournalReader
began = time.monotonic()
lines = sum(1 for _ in JournalReader(Path(sys.argv[1])))
print(lines, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, time.monotonic() - began)
"""
REPLAY = """
import asyncio, resource, sys, time
from pathlib import Path
from websockets.asyncio.server import serve
from ctgkit.config import SensorEntry
from ctgkit.recording.journal import JournalReader
from ctgkit.replay.player import Player, ReplaySettings
known = [SensorEntry(id=f"0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d{n:02x}", token="t") for n in range(20)]
async def main():
    async def swallow(connection):
        async for _ in connection:
            pass
    async with serve(swallow, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/sensor"
        settings = ReplaySettings(url=url, credentials=known, speed=float("inf"))
        return await Player(JournalReader(Path(sys.argv[1])), settings, None).run(asyncio.Event())
began = time.monotonic()
sent = asyncio.run(main()).sent
print(sent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, time.monotonic() - began)
"""
CONVERT = """
import resource, sys, time
from pathlib import Path
from ctgkit.recording import read_recordings, write_recordings
began = time.monotonic()
samples = 0
def counted():
    global samples
    for one in read_recordings(Path(sys.argv[1])):
        samples += len(one.sec_from_start)
        yield one
write_recordings(counted(), Path(sys.argv[1]).with_suffix(".csv"))
print(samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, time.monotonic() - began)
"""


def run(program, *arguments):
    """Run a program of its own process; return what it counted, its peak (MB), its time (s)."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [float(word) for word in done.stdout.split()]


@pytest.mark.slow
def test_memory_is_flat_for_a_day_of_a_ward(tmp_path):
    """24 hours of 20 sensors take hardly more than 15 minutes of them.

    Replay, which takes its time, is shown by 2 hours against 15 minutes.
    """
    peaks = {}
    for hours in (0.25, 2, 24):
        path = tmp_path / f"{hours}.jsonl"
        run(WRITE + "print(0, 0, 0)", hours, path)
        expected = hours * 14400 * N_SENSORS
        programs = {"read": READ, "convert": CONVERT} | ({"replay": REPLAY} if hours < 24 else {})
        for name, program in programs.items():
            counted, peak_mb, took_s = run(program, path)
            assert counted == expected + (N_SENSORS + 1 if name == "read" else 0)
            peaks[name, hours] = peak_mb
            print(json.dumps({"what": name, "hours": hours, "peak_mb": peak_mb, "s": took_s}))
    for name, most, more_mb in (("read", 24, 10), ("replay", 2, 10), ("convert", 24, 120)):
        assert peaks[name, most] < peaks[name, 0.25] + more_mb
