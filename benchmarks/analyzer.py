"""What the analyzer costs, and what the ML service does beside a bare echo.

    python -m benchmarks.analyzer

Ratios against a floor that is measured in the same run: decoding the same messages, and an echo
server that only receives and sends. Both sides of a socket share this process, so the throughput
is that of service and client together. The best of several rounds counts: the machine's other
work only ever adds.
"""

import asyncio
import time
import tracemalloc

import numpy as np
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from ctgkit import wire
from ctgkit.analysis import Analyzer
from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.net.frames import send_texts
from ctgkit.samples import Sample

SENSOR = "6f1c1f0a-8a3e-4a53-b9f4-6c3b9f5d0001"
HOURS, ROUNDS, MESSAGES = 1, 5, 20_000


def labour(hours):
    """Return samples at 4 Hz with noise, losses, contractions and late decelerations."""
    n = int(hours * 14_400)
    t_s = np.arange(n) / 4
    random = np.random.default_rng(1)
    fhr_bpm = 140 + np.convolve(random.normal(0, 8, n + 15), np.ones(16) / 16, "valid")
    toco = 10 + random.normal(0, 0.5, n)
    for peak_s in np.arange(120, n / 4, 170):
        toco += 40 * np.exp(-0.5 * ((t_s - peak_s) / 22) ** 2)
        fhr_bpm -= 30 * np.exp(-0.5 * ((t_s - peak_s - 25) / 15) ** 2)
    for at in random.integers(0, n, n // 300):
        fhr_bpm[at : at + random.integers(4, 40)] = 0
    columns = t_s.tolist(), np.round(fhr_bpm * 4) / 4, toco.clip(0).round(1)
    return [
        Sample(SENSOR, second, float(rate) or None, float(tone), 0.0)
        for second, rate, tone in zip(*columns, strict=True)
    ]


def seconds(work):
    """Return the least CPU time of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.process_time()
        work()
        best = min(best, time.process_time() - before)
    return best


def analyse(samples):
    analyzer = Analyzer()
    for sample in samples:
        analyzer.add(sample)
    return analyzer


def worst_s(samples):
    """Return the longest that one sample takes, the least of several rounds for each."""
    least = np.full(len(samples), np.inf)
    for _ in range(ROUNDS):
        analyzer = Analyzer()
        for n, sample in enumerate(samples):
            before = time.perf_counter()
            analyzer.add(sample)
            least[n] = min(least[n], time.perf_counter() - before)
    return float(least.max())


async def echo(connection):
    """Send back what came, in groups as the service does."""
    async for message in connection:
        await send_texts(connection, [message.encode()])


async def answered_per_s(url, frames):
    """Return how many requests per second get their reply."""
    async with connect(url, compression=None, proxy=None, max_queue=None) as client:
        before = time.perf_counter()

        async def ask():
            for n in range(0, len(frames), 100):
                await send_texts(client, frames[n : n + 100])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask())
            for _ in frames:
                await client.recv()
        return len(frames) / (time.perf_counter() - before)


async def throughput(samples):
    frames = [wire.encode_sample(s) for s in samples[:MESSAGES]]
    floor = service_rate = 0.0
    for _ in range(ROUNDS):
        async with serve(echo, "127.0.0.1", 0, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            floor = max(floor, await answered_per_s(f"ws://127.0.0.1:{port}", frames))
        async with MlService(MlSettings(port=0)) as service:
            service_rate = max(service_rate, await answered_per_s(service.url, frames))
    return floor, service_rate


def main():
    samples = labour(HOURS)
    frames = [wire.encode_sample(s) for s in samples]
    decode_us = seconds(lambda: [wire.decode_request(f) for f in frames]) / len(samples) * 1e6
    add_us = seconds(lambda: analyse(samples)) / len(samples) * 1e6
    print(f"analysis {add_us:.1f} us of CPU per sample; decoding it {decode_us:.1f}; "
          f"ratio {add_us / decode_us:.2f}")  # fmt: skip
    print(f"one core follows {1e6 / 4 / (add_us + decode_us):.0f} sensors at 4 Hz")
    print(f"worst sample {1e3 * worst_s(samples):.2f} ms")
    tracemalloc.start()
    analyzer = analyse(samples)
    print(f"memory {tracemalloc.get_traced_memory()[0] / 1024:.0f} KiB per sensor after "
          f"{analyzer.samples_seen / 14_400:.1f} h")  # fmt: skip
    tracemalloc.stop()
    floor, service_rate = asyncio.run(throughput(labour(2)))
    print(f"service {service_rate:.0f} replies/s; bare echo {floor:.0f}; "
          f"ratio {service_rate / floor:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
