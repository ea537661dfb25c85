"""The ward, the look back and the examinations of the live page, in headless Chromium."""

import json
import re
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect

from ctgkit.config import SensorEntry
from ctgkit.server.livepage import page_files
from ctgkit.wire import SUBPROTOCOL, TOKEN_HEADER
from tests.page.browser import CHROMIUM, chromium, tab_of
from tests.server.parties import acked, backend_on, message, ml_service, result, until, ws

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium isn't installed"),
]
NAMES = ["Zoe", "<b>Eve</b>", "Анна", "Mia", "Ida", "Lea"]
WARD = tuple(
    SensorEntry(
        id=f"0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d{n:02x}", token=f"token-{n}", bed=f"{n + 1}",
        name=name,
    )
    for n, name in enumerate(NAMES)
)  # fmt: skip
TILES = "[...document.querySelectorAll('#tiles li')]"
LOADED = "document.documentElement?.dataset.loaded === 'marks'"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as port_file:
        yield port_file


def sensor(backend, n=0):
    return connect(
        ws(backend, f"/ws/sensor?sensor_id={WARD[n].id}"),
        additional_headers={TOKEN_HEADER: WARD[n].token}, subprotocols=[SUBPROTOCOL],
    )  # fmt: skip


async def opened(tab, backend, place="", width=1280, height=800):
    await tab.look(width, height)
    await tab.open("about:blank")
    await tab.open(f"{backend.url}/{place}")
    await tab.until(LOADED)


async def fill(connection, seconds, fhr=140.0):
    for n in range(4 * seconds):
        await connection.send(message(n + 1, n / 4, fhr))
    await acked(connection, 4 * seconds)


def press(key):
    return f"dispatchEvent(new KeyboardEvent('keydown', {{key: {json.dumps(key)}, bubbles: true}}))"


async def test_ward(tmp_path, browser):
    """The past is there at once, alarms come first and large; names, filter, sort, a deep link."""
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(
            backend_on(tmp_path / "ctg.db", sensors=WARD, grace_s=60)
        )
        tab = await stack.enter_async_context(tab_of(browser))
        sensors = [await stack.enter_async_context(sensor(backend, n)) for n in range(len(WARD))]
        for n, connection in enumerate(sensors):
            await fill(connection, 60, 95.0 if n == 3 else 130.0 + n)
        await opened(tab, backend)
        names = f"{TILES}.map(li => li.querySelector('b').innerText)"
        await tab.until(f"{names}.join() === 'Mia,Zoe,<b>Eve</b>,Анна,Ida,Lea'")
        await tab.until(f"{TILES}[0].offsetWidth > 1.9 * {TILES}[1].offsetWidth")
        await tab.until(f"{TILES}[0].innerText.includes('FHR below 110')")
        await tab.until("document.title.startsWith('⚠ 1')")
        assert await tab.run("document.body.innerText.includes('silent')") is False
        drawn = """(() => { const c = document.querySelector('#tiles canvas');
          return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size })()"""
        await tab.until(f"{drawn} > 3")

        await tab.run("document.getElementById('filter').value = 'анна'")
        await tab.run("document.getElementById('filter').dispatchEvent(new Event('input'))")
        await tab.until("document.querySelectorAll('article').length === 1")
        await tab.until("document.querySelector('article h2').innerText === 'Анна'")
        await tab.run("document.getElementById('filter').value = ''")
        await tab.run("document.getElementById('sort').value = 'by name'")
        await tab.run("document.getElementById('sort').dispatchEvent(new Event('change'))")
        await tab.until(f"{names}.join() === '<b>Eve</b>,Ida,Lea,Mia,Zoe,Анна'")

        await tab.run(f"{TILES}[1].querySelector('button').click()")
        await tab.until(f"location.hash === '#sensor/{WARD[4].id}'")
        await tab.until("document.querySelector('#sensors article h2').innerText === 'Ida'")
        await tab.run(press("Escape"))
        await tab.until("document.querySelectorAll('#tiles li').length === 6")
        await opened(tab, backend, "#bed/2")
        await tab.until("document.querySelector('#sensors article h2').innerText === '<b>Eve</b>'")
        assert await tab.run("document.querySelectorAll('b b').length") == 0
        await opened(tab, backend, f"?sensor={WARD[0].id}")
        await tab.until("document.querySelector('#sensors article h2').innerText === 'Zoe'")
        assert tab.complaints == []


async def test_look_back_and_marks(tmp_path, browser):
    """Marks survive a reload; keys, wheel and buttons move through it; a note stays."""

    def answer(request):
        event = {"kind": "acceleration", "onset_s": 30, "end_s": 60, "id": "a1"}
        return [result(request, **({"events": [event]} if request["secFromStart"] == 70 else {}))]

    async with (
        ml_service(answer) as url,
        backend_on(tmp_path / "ctg.db", ml_url=url, sensors=WARD[:1], grace_s=60) as backend,
        tab_of(browser) as tab,
    ):
        await backend.ml_connected()
        async with sensor(backend) as s:
            await fill(s, 900)
        await until(lambda: backend.counters.results["relayed"] > 4 * 70)
        await opened(tab, backend, width=700, height=700)
        where = "document.querySelector('.tools [role=status]').innerText"
        await tab.until(f"{where}.endsWith('0:14:59')")
        for _ in range(5):
            await tab.run(press("+"))
        await tab.run(press("Home"))
        await tab.until(f"{where}.startsWith('0:00:00')")
        start = "document.querySelector('canvas').getBoundingClientRect()"
        wheel = f"""(() => {{ const c = document.querySelector('canvas');
          c.dispatchEvent(new WheelEvent('wheel', {{deltaY: 120, cancelable: true,
            clientX: {start}.left + 200}})) }})()"""
        await tab.run(wheel)
        await tab.until(f"!{where}.startsWith('0:00:00')")
        await tab.run(press("Home"))
        await tab.run(press("n"))
        await tab.run(press("m"))
        await tab.until("document.querySelector('.tools form input') === document.activeElement")
        assert "0:00:30" in await tab.run("document.querySelector('.tools form').innerText")
        await tab.run("document.activeElement.value = '<i>turned</i> её'")
        await tab.run("document.querySelector('.tools form button').click()")
        await tab.until("document.querySelector('.tools form').hidden")

        for button in ("Picture (PNG)", "Table (CSV)"):
            press_it = "[...document.querySelectorAll('.tools button')].find(b => b.innerText === "
            await tab.run(f"{press_it}{json.dumps(button)}).click()")
        await tab.until("performance.now() > 0")
        assert tab.complaints == []
        await opened(tab, backend, width=700, height=700)
        state = "import('/page/save.js').then(m => m.csvOf({t_s: [1, 2], fhr_bpm: [140.25, NaN],"
        state += " toco: [5, NaN]}, {start_s: 0, edge_s: 9, left: 0, px_per_s: 1}))"
        csv = await tab.run(state)
        assert csv.splitlines()[1:] == ["sec,bpm,toco", "1.000,140.25,5", "2.000,,"]
        await tab.run(press("Home"))
        await tab.run(press("n"))
        await tab.run(press("m"))
        await tab.until("document.querySelector('.tools form').innerText.includes('0:00:30')")
        assert tab.complaints == []


async def test_examinations(tmp_path, browser):
    """An old one is found by its bed and opened, though its sensor left long ago."""
    async with backend_on(tmp_path / "ctg.db", sensors=WARD) as backend, tab_of(browser) as tab:
        for n in (0, 1, 0):
            async with sensor(backend, n) as s:
                await fill(s, 20, 131.0)
        await opened(tab, backend, "#examinations")
        items = "[...document.querySelectorAll('#exam-list li')]"
        await tab.until(f"{items}.length === 3")
        await tab.run("document.getElementById('query').value = '2'")
        await tab.run("document.querySelector('#search button').click()")
        await tab.until(f"{items}.length === 1 || {items}.every(li => li.innerText.includes('2'))")
        await tab.run(
            f"{items}.find(li => li.innerText.includes('Eve')).querySelector('a').click()"
        )
        await tab.until("document.querySelector('#archive h2')?.innerText.includes('<b>Eve</b>')")
        where = "document.querySelector('#archive .tools [role=status]').innerText"
        await tab.until(f"{where}.endsWith('0:00:19')")
        await tab.run("document.getElementById('to-ward').click()")
        await tab.until("!document.querySelector('#archive article')")
        assert tab.complaints == []


async def test_russian(tmp_path, browser):
    """The language can be switched, and is remembered."""
    async with (
        backend_on(tmp_path / "ctg.db", sensors=WARD[:1]) as backend,
        sensor(backend) as s,
        tab_of(browser) as tab,
    ):
        await fill(s, 30)
        await opened(tab, backend)
        choose = """(() => { const s = document.getElementById('language'); s.value = LANGUAGE;
          s.dispatchEvent(new Event('change')) })()"""
        await tab.run(choose.replace("LANGUAGE", "'ru'"))
        try:
            await tab.until("document.body.innerText.includes('Тонус')")
            await opened(tab, backend)
            text = await tab.run("document.body.innerText")
            for word in ("ЧСС", "Отделение", "койка 1", "на связи", "не медицинское изделие"):
                assert word in text
            assert await tab.run("document.documentElement.lang") == "ru"
        finally:
            await tab.run(choose.replace("LANGUAGE", "'en'"))
        assert tab.complaints == []


async def test_nobody_is_silent_while_the_past_is_loaded(tmp_path, browser):
    """Live samples that come first stand behind the past, and alarms wait for it."""
    async with (
        backend_on(tmp_path / "ctg.db", sensors=WARD[:1]) as backend,
        sensor(backend) as s,
        tab_of(browser) as tab,
    ):
        await fill(s, 60)
        await tab.look(700, 600)
        await tab.open(f"{backend.url}/page/icon.svg")
        said = await tab.run(
            """(async () => {
          const [{ State, decode }, { verdict }] = await Promise.all(
            [import('/page/state.js'), import('/page/texts.js')]);
          const { unpack } = await import('/page/past.js');
          const state = new State();
          const result = (t) => decode(JSON.stringify({sensorID: WHO, secFromStart: t,
            data: {BPMChild: 150}, prediction: null, status: 'ok'}));
          state.linked(0, true);
          state.fold(result(60), 1);
          const first = verdict([...state.sensors.values()][0], 60).text;
          const answer = await fetch('/api/page/past?seconds=300&bin=1');
          state.fill(unpack(await answer.arrayBuffer(), 1));
          state.fold(result(61), 61);
          state.loaded(61);
          const [sensor] = state.sensors.values();
          return [first, sensor.t_s, sensor.fhr_bpm, sensor.alarms.last_s];
        })()""".replace("WHO", json.dumps(WARD[0].id))
        )
        first, t_s, fhr_bpm, judged_s = said
        assert "silent" not in first
        assert t_s == [*range(60), 60, 61]
        assert fhr_bpm == [140] * 60 + [150, 150]
        assert judged_s == 61


def test_words_are_complete():
    """Every text of the page has its Russian form."""
    files = page_files()
    keys = set(re.findall(r'data-(?:t|aria)="([^"]+)"', files["index.html"]))
    for name, text in files.items():
        if name.endswith(".js"):
            keys |= set(re.findall(r'\bt\("([^"]+)"', text))
    russian = set(re.findall(r'^  "([^"]+)":', files["words-ru.js"], re.MULTILINE))
    assert keys - russian == set()
