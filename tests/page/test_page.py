"""The live page in headless Chromium against a live backend."""

import json
from itertools import pairwise

import pytest

from ctgkit.display import ALARMS, COLOURS
from tests.page.browser import CHROMIUM, chromium, tab_of
from tests.server.parties import (
    acked,
    backend_on,
    message,
    ml_service,
    result,
    sensor,
    until,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium isn't installed"),
]

PREDICTION = {
    "hypoxia_probability": 0.86, "hypoxia_risk": "critical", "confidence": 0.9,
    "alerts": ["<img src=x onerror=alert(1)>"], "recommendations": [],
}  # fmt: skip
EVENTS = [
    {"kind": "deceleration", "subtype": "late", "onset_s": 20, "end_s": 50, "id": "d1"},
    {"kind": "contraction", "onset_s": 10, "end_s": 40, "id": "c1"},
]
LIVE = "document.getElementById('link')?.dataset.link === 'live'"
CARD = "document.querySelector('#sensors article')"

COLUMNS_WITH = """(() => {
  const canvas = document.querySelector('canvas'), {width, height} = canvas;
  const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
  const ratio = width / canvas.clientWidth;
  const colour = COLOUR.match(/\\w\\w/g).map(c => parseInt(c, 16));
  const found = [];
  for (let x = 40 * ratio; x < width; x++)
    for (let y = 0; y < height; y++) {
      const i = 4 * (y * width + x);
      if (colour.every((c, n) => Math.abs(data[i + n] - c) < 40)) { found.push(x); break; }
    }
  return found;
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as port_file:
        yield port_file


def columns_with(name):
    """Columns of the canvas in which something of that colour is drawn."""
    return COLUMNS_WITH.replace("COLOUR", repr(COLOURS[name].light))


async def opened(tab, backend):
    """Open the page of a backend and wait until it is connected."""
    await tab.look(700, 600, ratio=2)  # strokes cover whole pixels
    await tab.open(backend.url + "/")
    await tab.until(LIVE)


async def send(connection, times_s, fhr=140.0, **more):
    for t_s in times_s:
        await connection.send(message(int(4 * t_s) + 1, t_s, fhr, **more))
    await acked(connection, int(4 * t_s) + 1)


def shows(words):
    return f"{CARD}?.innerText.includes({json.dumps(words)})"


def quarters(start_s, end_s):
    return [n / 4 for n in range(4 * start_s, 4 * end_s)]


async def test_trace_gap_and_alarm(tmp_path, browser):
    """The strip moves, a loss of signal leaves no line, and an alarm latches until acknowledged."""
    async with (
        backend_on(tmp_path / "ctg.db") as backend,
        sensor(backend) as s,
        tab_of(browser) as tab,
    ):
        await opened(tab, backend)
        await send(s, quarters(0, 100))
        await tab.until(shows("0:01:39"))
        before = await tab.until(columns_with("fhr"))
        assert before == list(range(before[0], before[-1] + 1))
        await send(s, quarters(100, 130), None)
        await send(s, quarters(130, 200), 150.0)
        await tab.until(shows("0:03:19"))
        columns = await tab.run(columns_with("fhr"))
        steps = [b - a for a, b in pairwise(columns)]
        seconds_per_column = 99.75 / (before[-1] - before[0])
        assert steps.count(1) == len(steps) - 1
        assert max(steps) * seconds_per_column == pytest.approx(30, abs=3 * seconds_per_column)
        assert columns[-1] == before[-1]
        assert columns[0] < before[0]

        assert not await tab.run(f"{CARD}.classList.contains('alarmed')")
        await send(s, quarters(200, 240), 95.0)
        await tab.until(f"{CARD}.classList.contains('alarmed')")
        await tab.until(shows(f"{ALARMS['fhr_low'].text} since 0:03:20"))
        assert (await tab.run("document.title")).startswith("⚠")
        await tab.run(f"{CARD}.querySelector('[data-part=acknowledge]').click()")
        await tab.until(f"!{CARD}.classList.contains('alarmed')")
        await tab.until(shows("acknowledged"))
        assert tab.complaints == []


async def test_analyzer_and_hostile_text(tmp_path, browser):
    """Verdict and events are shown; text of the network stays text."""

    def answer(request):
        extra = {"events": EVENTS} if request["secFromStart"] > 55 else {}
        return [result(request, prediction=PREDICTION, status="critical", **extra)]

    async with (
        ml_service(answer) as url,
        backend_on(tmp_path / "ctg.db", ml_url=url) as backend,
        sensor(backend) as s,
        tab_of(browser) as tab,
    ):
        await opened(tab, backend)
        await backend.ml_connected()
        await send(s, quarters(0, 60))
        await tab.until(shows("■ critical · risk critical 86%"))
        await tab.until(shows("<img src=x onerror=alert(1)>"))
        await tab.until(shows("contraction/10 min"))
        assert await tab.run("document.images.length") == 0
        await tab.until(f"{columns_with('deceleration')}.length > 3")
        assert tab.complaints == []


async def test_restart_and_past(tmp_path, browser):
    """A page that comes late gets the past; after a restart of the backend it goes on by itself."""
    path = tmp_path / "ctg.db"
    async with tab_of(browser) as tab:
        async with backend_on(path, grace_s=60) as backend, sensor(backend) as s:
            port = int(backend.url.rsplit(":", 1)[1])
            await send(s, quarters(0, 60))
            await opened(tab, backend)
            await tab.until(shows("0:00:59"))
            before = await tab.until(columns_with("fhr"))
        await tab.until("document.getElementById('link').innerText.includes('connection lost')")
        async with backend_on(path, grace_s=60, port=port) as backend, sensor(backend) as s:
            await tab.until(LIVE)
            await send(s, quarters(60, 80))
            await tab.until(shows("0:01:19"))
            after = await tab.run(columns_with("fhr"))
    assert len(after) == pytest.approx(len(before) * 80 / 60, rel=0.02)
    assert after == list(range(after[0], after[-1] + 1))


async def test_buttons_and_token(tmp_path, browser):
    """Start and stop drive the sensors' control addresses; a remote page asks for the token."""
    async with (
        backend_on(tmp_path / "ctg.db", viewer_token="sesame") as backend,
        tab_of(browser) as tab,
    ):
        await tab.open(backend.url + "/")
        await tab.until("document.getElementById('access')?.hidden === false")
        await tab.run("document.getElementById('token').value = 'sesame'")
        await tab.run("document.querySelector('#access button').click()")
        await tab.until("document.getElementById('link').dataset.link === 'live'")
        await tab.until("document.getElementById('access').hidden")
        await until(lambda: backend.health()["viewers"] == 1)
        await tab.run("document.getElementById('start').click()")
        await tab.until("document.getElementById('answer').innerText.includes('no sensor has')")
        await tab.run("document.getElementById('stop').click()")
        await tab.until("document.getElementById('answer').innerText.includes('successfully')")
        assert [c for c in tab.complaints if "400" not in c] == []
