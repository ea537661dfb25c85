"""The instructor's part of the live page, with a real sensor behind its control address."""

import pytest

from tests.page.browser import CHROMIUM, chromium, tab_of
from tests.server.test_orders import ward

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium isn't installed"),
]
BUTTON = "[...document.querySelectorAll('.instructor button')].find(b => b.innerText === '{}')"
SAID = "document.querySelector('.instructor [role=status]').innerText"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as port_file:
        yield port_file


async def press(tab, button):
    await tab.run(f"{BUTTON.format(button)}.click()")
    await tab.until(f"{SAID}.length > 1")
    return await tab.run(SAID)


async def test_a_sensor_that_is_off_is_started_and_disturbed(tmp_path, browser):
    """It is found under "Not connected", starts as chosen, gets an event, and stops."""
    async with ward(tmp_path / "ctg.db") as (backend, repertoire), tab_of(browser) as tab:
        await tab.look(1000, 800)
        await tab.open(backend.url + "/")
        there = "document.querySelector('#absent a')"  # the list may be drawn anew meanwhile
        await tab.until(f"(a => !!a && (a.click(), true))({there})")
        await tab.until("!!document.querySelector('.instructor')")
        await tab.run("document.querySelector('.instructor').open = true")
        choice = "document.querySelectorAll('.instructor select')"
        await tab.until(f"{choice}[0].options.length > 3")
        await tab.run(f"{choice}[0].value = 'tachycardia-fever'")
        await tab.run("document.querySelector('.instructor input').value = '3'")
        said = await press(tab, "Start with it")
        assert said == "started, scenario tachycardia-fever, seed 3"
        await tab.until("document.querySelector('article [data-part=fhr]').innerText !== '---'")
        await tab.run(f"{choice}[1].value = 'off'")
        await tab.run(f"{choice}[1].dispatchEvent(new Event('change'))")
        assert (await press(tab, "Inject now")).startswith("injected, event off · ")
        await tab.run(f"{choice}[2].value = 'fhr.baseline_bpm'")
        await tab.run(f"{choice}[2].dispatchEvent(new Event('change'))")
        field = "document.querySelector('.instructor input[placeholder=\"50–220 bpm\"]')"
        await tab.run(f"{field}.value = '100'")
        said = await press(tab, "Change")
        assert said.startswith("changing, knob fhr.baseline_bpm, to 100 · ")
        note = "document.querySelector('.tools > form')"  # the patient came after the page
        buttons = "[...document.querySelectorAll('.tools button')]"
        await tab.run(f"{buttons}.find(b => b.innerText === 'Add a note').click()")
        await tab.run(f"{note}.querySelector('input').value = 'began later'")
        await tab.run(f"{note}.querySelector('button').click()")
        await tab.until(f"{note}.hidden")
        assert await press(tab, "Stop") == "stopped"
        (played,) = repertoire.sensors.values()
        assert played.patient.scenario.id == "tachycardia-fever"
        assert [entry.event for entry in played.log] == ["off"]
        assert [tuple(entry)[1:] for entry in played.changes] == [("fhr.baseline_bpm", 100.0, 60.0)]
        assert tab.complaints == []
