"""Samples in frames that are whole, split, shared, large, or bad: more of clauses S-4."""

import uuid
from collections.abc import AsyncIterator

from ctgkit.check.backend.samples import BAD_FRAMES_MAX, arrives, none_but, still_heard
from ctgkit.check.checks import Catalogue, Mismatch, arranging
from ctgkit.check.messages import STREAM_HEADER, sample
from ctgkit.check.rig import Bench

CHECKS = Catalogue()
FRAME_MAX_BYTES = 16_384
ARRAY_MAX = 512
SHORT_SEC, LONG_SEC = 400, 401
"""Data times of the samples of long arrays: three digits, so that 512 of them fit in a frame."""


@CHECKS.add(
    "S-4.1/fragments", "A sample in three fragments, a ping between, arrives", needs="witness"
)
async def fragments(bench: Bench) -> None:
    sec, text = bench.fresh()
    async with bench.watch() as watch, bench.sensor() as sensor:

        async def pieces() -> AsyncIterator[str]:
            yield text[:20]
            await sensor.connection.ping()
            yield text[20:40]
            yield text[40:]

        await sensor.connection.send(pieces())
        try:
            await watch.saw(sec)
        finally:
            sensor.must_live()


@CHECKS.add("S-4.4/zero-toco", "0 is a valid value of uterus and spasms", needs="witness")
async def toco_of_zero(bench: Bench) -> None:
    sec = bench.sec()
    seen = await arrives(bench, sample(sec, 140.5, 0, 0), sec)
    if (seen.uterus, seen.spasms) != (0, 0):
        raise Mismatch("uterus 0 and spasms 0", f"{seen.uterus} and {seen.spasms}")


@CHECKS.add("S-4.7/sec-zero", "A sample at 0 s arrives", needs="witness")
async def begins_at_zero(bench: Bench) -> None:
    with arranging("a sample at 0.25 s arrives, after later ones (S-4.11)"):
        await arrives(bench, sample(0.25), 0.25)
    await arrives(bench, sample(0), 0.0)


def _array(sec: int, count: int) -> str:
    return "[" + ",".join([f'{{"secFromStart":{sec},"data":{{}}}}'] * count) + "]"


@CHECKS.add("S-4.5/largest", "All samples of an array of 512 arrive", needs="sensor store")
async def largest_array(bench: Bench) -> None:
    with arranging("a sample goes back in time (S-4.11)"):
        await arrives(bench, sample(SHORT_SEC), SHORT_SEC)
    async with bench.watch() as watch, bench.sensor() as sensor:
        watch.timeout_s *= 4  # a commit per row takes its time
        await sensor.send(_array(SHORT_SEC, ARRAY_MAX))
        await watch.saw(SHORT_SEC, ARRAY_MAX)


@CHECKS.add("S-4.5/longer", "An array of 513 samples is rejected whole", needs="witness")
async def longer_array(bench: Bench) -> None:
    async with bench.watch() as watch, bench.sensor() as sensor:
        await sensor.send(_array(LONG_SEC, ARRAY_MAX + 1))
        none_but(watch, await still_heard(bench, watch, sensor))


@CHECKS.add("S-4.9/each", "Bad frames are counted per connection", needs="sensor")
async def counts_begin_anew(bench: Bench) -> None:
    for _ in range(2):
        async with bench.sensor() as sensor:
            await sensor.send(*[sample(bench.bad_sec(), 999)] * (BAD_FRAMES_MAX - 1))
            await sensor.settle()
            sensor.must_live()


@CHECKS.add("S-4.9/samples", "100 bad samples in one frame count as one bad frame", needs="sensor")
async def bad_samples_in_one_frame(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        bad = sample(bench.bad_sec(), 999)
        await sensor.send("[" + ", ".join([bad] * BAD_FRAMES_MAX) + "]")
        await sensor.settle()
        sensor.must_live()


@CHECKS.add("S-6.7/names", "A stream's name may have 64 letters, digits, -, _ and .", needs="v1")
async def stream_names(bench: Bench) -> None:
    for name in ("a" * 64, "A-b_c.9", str(uuid.uuid4())):
        response = await bench.handshake(
            bench.sensor_path(), [bench.token(), (STREAM_HEADER, name)]
        )
        if response.status != 101:
            raise Mismatch(f"let in with {STREAM_HEADER}: {name}", f"HTTP {response.status}")


@CHECKS.add("S-4.10/largest", "A frame of 16 KiB is read", needs="witness")
async def largest_frame(bench: Bench) -> None:
    sec, text = bench.fresh()
    await arrives(bench, text + " " * (FRAME_MAX_BYTES - len(text)), sec)


@CHECKS.add("S-4.10/larger", "A frame of more than 16 KiB closes with 1009", needs="sensor")
async def larger_frame(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        await sensor.send(sample(bench.bad_sec()).ljust(FRAME_MAX_BYTES + 1))
        await sensor.closed(1009)


@CHECKS.add(
    "S-4.10/fragments", "Fragments of more than 16 KiB together close with 1009", needs="sensor"
)
async def fragmented_frame(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        await sensor.send_fragments([sample(bench.bad_sec()), *[" " * 1024] * 16])
        await sensor.closed(1009)
