"""The live page in headless Chromium: how soon the past is there, how smoothly sixty sensors move.

The sensors stay connected and go on at 4 Hz while the page loads; Chromium shares the machine with
them. Without Chromium there are no figures.
"""

import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect

from benchmarks.measure import Figure
from benchmarks.system import configured
from ctgkit import generate
from ctgkit.wire import SUBPROTOCOL, TOKEN_HEADER
from tests.flow.processes import metric
from tests.page.browser import CHROMIUM, chromium, tab_of

RATE_HZ = 4.0
PATIENTS = ("normal-reactive", "late-decels-severe", "labour", "variable-typical", "poor-signal")
MORE_S = 600.0
"""Longest that the sensors go on."""
WARDS = ((12, 3600, 2.0), (60, 300, 2.0), (60, 3600, 4.0))
"""Sensors, seconds of past, and when all of it has to be there, seconds."""
MOVING, SPEED, WATCHED_S = 60, 5, 20
"""`ctgkit sensor --sensors MOVING --speed SPEED`, watched for so long."""
NOTE_TIMES = """
new MutationObserver(() => {
  const said = document.documentElement?.dataset.loaded;
  if (said && !(said in times)) times[said] = performance.now() / 1000;
}).observe(document, {attributes: true, subtree: true, attributeFilter: ["data-loaded"]});
window.times = {silent: 0};
setInterval(() => {
  times.silent = Math.max(times.silent, document.querySelectorAll(".silent").length);
}, 100);"""
COUNT_FRAMES = """new Promise((resolve) => {
  const taken = [];
  const end_ms = performance.now() + SECONDS * 1000;
  const drawn = document.querySelector("#tiles canvas").getContext("2d").constructor.prototype;
  const scale = drawn.scale; // each drawing of a trend begins with it
  let draws = 0;
  drawn.scale = function (...by) { draws += 1; return scale.apply(this, by); };
  requestAnimationFrame(function next(now) {
    taken.push(now);
    if (now < end_ms) return requestAnimationFrame(next);
    const apart = taken.slice(1).map((t, n) => t - taken[n]).sort((a, b) => a - b);
    drawn.scale = scale;
    resolve({fps: (1000 * apart.length) / (taken.at(-1) - taken[0]), draws: draws / SECONDS,
      p99_ms: apart[Math.floor(0.99 * apart.length)]});
  });
})"""


class Ward:
    """Sensors of the benchmark's own: an hour at once, then as time goes by."""

    def __init__(self, credentials, seconds):
        self._credentials, self._seconds = credentials, seconds
        self._traces = []
        for name in PATIENTS:
            found = generate(name, seed=1, duration_s=seconds + MORE_S)
            columns = (found.fhr_bpm, found.uterus, found.spasms)
            self._traces.append(np.stack(columns, axis=1))

    def _text(self, number, n):
        row = self._traces[number % len(PATIENTS)][n].tolist()
        values = [None if value != value else value for value in row]
        data = dict(zip(("BPMChild", "uterus", "spasms"), values, strict=True))
        return json.dumps({"secFromStart": n / RATE_HZ, "data": data, "seq": n + 1})

    async def _one(self, number, url, filled):
        sensor_id, token = self._credentials[number]
        address = f"{url.replace('http', 'ws', 1)}/ws/sensor?sensor_id={sensor_id}"
        async with connect(
            address, additional_headers={TOKEN_HEADER: token}, subprotocols=[SUBPROTOCOL],
            compression=None,
        ) as socket:  # fmt: skip
            past = int(self._seconds * RATE_HZ)
            acked = asyncio.Event()

            async def read():
                async for text in socket:
                    if json.loads(text).get("ack", 0) >= past:
                        acked.set()

            reading = asyncio.ensure_future(read())
            for n in range(past):
                await socket.send(self._text(number, n))
            await acked.wait()
            filled(number)
            began_s = time.monotonic()
            for n in range(past, past + int(MORE_S * RATE_HZ)):
                await socket.send(self._text(number, n))
                await asyncio.sleep(began_s + (n - past + 1) / RATE_HZ - time.monotonic())
            reading.cancel()

    def start(self, url, tasks):
        """Begin; return what is done once all of the past is stored."""
        done = asyncio.get_running_loop().create_future()
        left = set(range(len(self._credentials)))

        def filled(number):
            left.discard(number)
            if not left:
                done.set_result(None)

        for number in range(len(self._credentials)):
            tasks.append(asyncio.ensure_future(self._one(number, url, filled)))
        return done


async def _caught_up(url, sensors):
    """Wait until the ML service has answered to what was sent faster than life."""
    calm = 0
    while calm < 3:
        await asyncio.sleep(0.3)
        waiting = await metric(url, 'ctgkit_queue_depth{name="ml_outbox"}')
        calm = calm + 1 if waiting <= sensors else 0


async def _loaded(sensors, seconds, repeat, port_file):
    """Return what the page noted at each load, seconds since it was asked for."""
    async with AsyncExitStack() as stack:
        system, credentials = stack.enter_context(configured(sensors))
        ml = (await system.start("ml", "--port", 0, "-q").announced()).url
        backend = await system.serve("-q", ml=ml).announced()
        tasks = []
        stack.callback(lambda: [task.cancel() for task in tasks])
        await Ward(credentials, seconds).start(backend.url, tasks)
        await _caught_up(backend.url, sensors)
        tab = await stack.enter_async_context(tab_of(port_file))
        await tab.look(1280, 800)
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=NOTE_TIMES)
        found = []
        for _ in range(repeat):
            await tab.open("about:blank")
            await tab.open(f"{backend.url}/")
            await tab.until("window.times?.marks")
            shown = await tab.run("document.querySelectorAll('#tiles li').length")
            assert shown == sensors, f"{shown} of {sensors} are shown"
            found.append(await tab.run("times"))
        return found


async def _moving(port_file, seconds):
    """Return how the page moves with real sensors."""
    async with AsyncExitStack() as stack:
        system, _ = stack.enter_context(configured(MOVING))
        ml = (await system.start("ml", "--port", 0, "-q").announced()).url
        backend = await system.serve("-q", ml=ml).announced()
        url = f"{backend.url.replace('http', 'ws', 1)}/ws/sensor"
        system.start("sensor", "--url", url, "--sensors", MOVING, "--speed", SPEED, "-q")
        tab = await stack.enter_async_context(tab_of(port_file))
        await tab.look(1280, 800)
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=NOTE_TIMES)
        await tab.open(f"{backend.url}/")
        await tab.until(f"document.querySelectorAll('#tiles li').length === {MOVING}")
        found = await tab.run(COUNT_FRAMES.replace("SECONDS", str(seconds)))
        return found | {"silent": await tab.run("times.silent")}


def measure(options):
    """Return when the past is there, and frames per second."""
    if CHROMIUM is None:
        print("page: Chromium isn't installed", file=sys.stderr)
        return []
    figures = []
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        chromium(Path(folder)) as port_file,
    ):
        for sensors, seconds, target in WARDS[:1] if options.quick else WARDS:
            past_s = 60 if options.quick else seconds
            loads = asyncio.run(_loaded(sensors, past_s, options.repeat, port_file))
            figures.append(
                Figure(
                    part="page", name=f"whole past, {sensors} × {past_s / 60:g} min", unit="s",
                    values=[load["past"] for load in loads], target=target,
                    beside={
                        "everybody s": float(np.median([load["recent"] for load in loads])),
                        "marks s": float(np.median([load["marks"] for load in loads])),
                        "called silent": max(load["silent"] for load in loads),
                    },
                )
            )  # fmt: skip
        moved = asyncio.run(_moving(port_file, 2 if options.quick else WATCHED_S))
        figures.append(
            Figure(
                part="page", name=f"{MOVING} sensors at {SPEED} ×", unit="frames/s",
                values=[moved["fps"]], target=30.0, at_least=True,
                beside={
                    "99 % of frames within ms": moved["p99_ms"], "trends drawn/s": moved["draws"],
                    "called silent": moved["silent"],
                },
            )
        )  # fmt: skip
    return figures
