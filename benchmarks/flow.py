"""The live loop against floors measured in the same run: ``python -m benchmarks.flow``.

- ingest: samples stored per second when sensors flood (`--durability full`, no ML service), over
  a bare websockets receive loop fed with the same bytes by the same client;
- latency: from a sensor's send to a viewer's receive, 20 sensors at 4 Hz, the ML stub in its own
  process, over a bare echo at the same pace;
- start-up: ``ctgkit --help`` over ``python -c pass``.

Each server and the flooding client are processes of their own. Runs of the two sides alternate;
the figures are medians. Trust the ratios: the machine's speed changes for minutes.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.frames import Frame, Opcode

from ctgkit.eventloop import run
from tests.flow.processes import System, ask

WRITE_BYTES = 65_536
RATE_HZ = 4.0
PARTS = ("start-up", "ingest", "latency")


# --- the floors and the flood, each a process: python -m benchmarks.flow ROLE … ------------------


async def bare_receive(connection):
    """Receive what was announced in the URL, then acknowledge the last number."""
    query = parse_qs(urlsplit(connection.request.path).query)
    for _ in range(int(query["samples"][0])):
        await connection.recv(decode=False)
    await connection.send(f'{{"ack":{query["last"][0]}}}')
    await connection.wait_closed()


async def bare_echo(connection):
    """Send back what comes."""
    async for message in connection:
        await connection.send(message)


async def serve_bare(handler):
    """Serve a floor until killed; print its URL."""
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.Event().wait()


async def flood(url, credentials, samples, first):
    """Send every sensor's samples as fast as they are taken; print the time to the last ack.

    Everything is framed before the clock starts.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    last = first + samples - 1
    ready = []
    for sensor_id, token in credentials:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"GET /ws/sensor?sensor_id={sensor_id}&samples={samples}&last={last} HTTP/1.1\r\n"
            f"Host: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
            f"Sec-WebSocket-Protocol: ctgkit.v1\r\nX-Auth-Sensor-Token: {token}\r\n\r\n".encode()
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        frames = b"".join(
            Frame(Opcode.TEXT, sample_text(sensor_id, first + n, n / RATE_HZ)).serialize(mask=True)
            for n in range(samples)
        )
        ready.append((reader, writer, frames))
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for reader, writer, frames in ready:
            tasks.create_task(write_all(writer, frames))
            tasks.create_task(read_until(reader, f'{{"ack":{last}}}'.encode()))
    print(json.dumps(time.perf_counter() - started))
    for _, writer, _ in ready:
        writer.transport.abort()


def sample_text(sensor_id, seq, second):
    """Return one numbered sample."""
    data = {"BPMChild": 120 + seq % 160 / 4, "uterus": seq % 100 / 2, "spasms": 0.0}
    message = {"sensorID": sensor_id, "secFromStart": second, "data": data, "seq": seq}
    return json.dumps(message, separators=(",", ":")).encode()


async def write_all(writer, frames):
    """Write as fast as the peer reads."""
    for start in range(0, len(frames), WRITE_BYTES):
        writer.write(frames[start : start + WRITE_BYTES])
        await writer.drain()


async def read_until(reader, wanted):
    """Read until *wanted* came."""
    tail = b""
    while wanted not in tail:
        tail = tail[-len(wanted) :] + await reader.read(WRITE_BYTES)


# --- what is measured ----------------------------------------------------------------------------


def role(*arguments):
    """Start a process of this module."""
    command = [sys.executable, "-m", "benchmarks.flow", *(str(a) for a in arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def cpu_s(pid):
    """Return the processor time of a process so far, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flood_once(url, pid, credentials, samples, first):
    """Return (samples per second, processor seconds of the server per second)."""
    before_s = cpu_s(pid)
    with role("flood", url, json.dumps(credentials), samples, first) as client:
        took_s = float(client.communicate()[0])
    return samples * len(credentials) / took_s, (cpu_s(pid) - before_s) / took_s


async def ingest(system, sensors, total, repeat):
    """Flood a backend and a bare loop in turn; return the medians."""
    samples = total // sensors
    entries = system.configure(sensors)
    credentials = [(entry.id, entry.token) for entry in entries]
    system.database = system.directory / f"ingest-{sensors}.db"
    backend = await system.serve("-q").announced()
    bare = role("bare-receive")
    bare_url = bare.stdout.readline().strip()
    stored, floor = [], []
    for number in range(repeat):
        first = 1_000 + number * samples
        floor.append(await asyncio.to_thread(
            flood_once, bare_url, bare.pid, credentials, samples, first))  # fmt: skip
        stored.append(await asyncio.to_thread(
            flood_once, backend.url, backend.pid, credentials, samples, first))  # fmt: skip
    text = (await ask(backend.url, "/metrics")).body.decode().splitlines()
    sums = {line.split()[0]: float(line.split()[1]) for line in text if line[0] != "#"}
    bare.kill()
    bare.communicate()
    await backend.stopped(60)
    rows = sensors * samples * repeat
    assert system.query("SELECT count(*) FROM ctg") == [(rows,)]
    rates, floors = [r for r, _ in stored], [r for r, _ in floor]
    commits = sums["ctgkit_store_commit_seconds_count"]
    return {
        "sensors": sensors,
        "stored_per_s": round(statistics.median(rates)),
        "bare_receive_per_s": round(statistics.median(floors)),
        "ratio": round(statistics.median(rates) / statistics.median(floors), 3),
        "server_cpu": round(statistics.median(c for _, c in stored), 2),
        "rows_per_commit": round(rows / commits),
        "ms_per_commit": round(1e3 * sums["ctgkit_store_commit_seconds_sum"] / commits, 1),
        "writing_share": round(
            sums["ctgkit_store_commit_seconds_sum"] / sum(samples * sensors / r for r in rates), 2
        ),
    }


async def pace(connection, sensor_id, first, seconds, sent):
    """Send a sample every 250 ms from a random phase on; note when."""
    loop = asyncio.get_running_loop()
    due = loop.time() + random.uniform(0, 1 / RATE_HZ)
    for n in range(int(seconds * RATE_HZ)):
        await asyncio.sleep(due - loop.time())
        due += 1 / RATE_HZ
        second = n / RATE_HZ
        text = sample_text(sensor_id, first + n, second).decode()
        sent[sensor_id, second] = time.perf_counter()
        await connection.send(text)


async def note_arrivals(connection, expected, arrived):
    """Note when each sample's first message with its identity comes."""
    while len(arrived) < expected:
        message = json.loads(await connection.recv())
        if "sensorID" in message:  # the others are acknowledgements
            key = message["sensorID"], message["secFromStart"]
            arrived.setdefault(key, time.perf_counter())


async def paced(url, credentials, first, seconds, *, viewer_path):
    """Return each sample's time from send to receive, seconds; numbers count from *first*."""
    base = url.replace("http", "ws", 1)
    plain = {"compression": None, "proxy": None}
    sent, arrived = {}, {}
    expected = len(credentials) * int(seconds * RATE_HZ)
    sensors = [
        await connect(
            f"{base}/ws/sensor?sensor_id={sensor_id}",
            additional_headers={"X-Auth-Sensor-Token": token},
            subprotocols=["ctgkit.v1"] if viewer_path else None,
            **plain,
        )
        for sensor_id, token in credentials
    ]
    viewers = [await connect(base + viewer_path, **plain)] if viewer_path else sensors
    async with asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(note_arrivals(v, expected, arrived)) for v in viewers]
        async with asyncio.TaskGroup() as pacing:
            for connection, (sensor_id, _) in zip(sensors, credentials, strict=True):
                pacing.create_task(pace(connection, sensor_id, first, seconds, sent))
        async with asyncio.timeout(10):
            while len(arrived) < expected:  # noqa: ASYNC110 (several readers fill it)
                await asyncio.sleep(0.01)
        for task in reading:
            task.cancel()
    for connection in {*sensors, *viewers}:
        await connection.close()
    return [arrived[key] - sent[key] for key in sent]


async def latency(system, sensors, seconds, repeat):
    """Pace sensors through the system and over an echo in turn; return the quantiles."""
    credentials = [(entry.id, entry.token) for entry in system.configure(sensors)]
    system.database = system.directory / "latency.db"
    ml = await system.start("ml", "--port", 0, "-q").announced()
    backend = await system.serve("-q", ml=ml.url).announced()
    echo = role("bare-echo")
    echo_url = echo.stdout.readline().strip()
    through, echoed = [], []
    for number in range(repeat):
        first = 1_000 + number * int(seconds * RATE_HZ)
        echoed.append(await paced(echo_url, credentials, first, seconds, viewer_path=""))
        through.append(await paced(backend.url, credentials, first, seconds, viewer_path="/ws"))
    echo.kill()
    echo.communicate()
    await asyncio.gather(backend.stopped(60), ml.stopped(60))

    def quantile_ms(runs, share):
        return statistics.median(1e3 * sorted(run)[int(share * len(run))] for run in runs)

    figures = {"sensors": sensors, "rate_hz": RATE_HZ, "seconds": seconds}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        system_ms, echo_ms = quantile_ms(through, share), quantile_ms(echoed, share)
        figures |= {
            f"{name}_ms": round(system_ms, 2),
            f"echo_{name}_ms": round(echo_ms, 2),
            f"{name}_ratio": round(system_ms / echo_ms, 2),
        }
    return figures


def start_up(times):
    """Return the medians of starting ``ctgkit --help`` and a bare Python, in turn."""
    help_ms, bare_ms = [], []
    for _ in range(times):
        for arguments, into in ((["-c", "pass"], bare_ms), (["-m", "ctgkit", "--help"], help_ms)):
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            into.append(1e3 * (time.perf_counter() - started))
    ours, bare = statistics.median(help_ms), statistics.median(bare_ms)
    return {
        "help_ms": round(ours),
        "bare_python_ms": round(bare),
        "added_ms": round(ours - bare),
        "ratio": round(ours / bare, 2),
    }


async def measure(options):
    """Measure everything; print a line of JSON for each figure as it is known."""
    with tempfile.TemporaryDirectory(prefix="ctgkit-flow-", dir=options.directory) as directory:
        system = System(Path(directory))
        try:
            if "start-up" in options.only:
                print(json.dumps({"start_up": start_up(10)}), flush=True)
            for sensors in (1, 10, 100) if "ingest" in options.only else ():
                figures = await ingest(system, sensors, options.samples, options.repeat)
                print(json.dumps({"ingest": figures}), flush=True)
                (system.directory / "ctgkit.toml").unlink()
            if "latency" in options.only:
                figures = await latency(system, 20, options.seconds, options.repeat)
                print(json.dumps({"latency": figures}), flush=True)
        finally:
            system.end()


def main():
    """Run as one of the roles, or measure."""
    match sys.argv[1:]:
        case ["bare-receive"]:
            run(serve_bare(bare_receive))
        case ["bare-echo"]:
            run(serve_bare(bare_echo))
        case ["flood", url, credentials, samples, first]:
            run(flood(url, json.loads(credentials), int(samples), int(first)))
        case _:
            parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
            parser.add_argument("--samples", type=int, default=100_000, help="in each flood")
            parser.add_argument("--seconds", type=float, default=15.0, help="of each pacing")
            parser.add_argument("--repeat", type=int, default=3)
            parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
            parser.add_argument("--directory", help="where the databases go: which disk")
            asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
