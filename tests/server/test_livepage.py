"""The live page's files: complete, ours alone, and coloured by ctgkit.display only."""

import json
import re

import pytest

from ctgkit.display import ALARMS, COLOURS
from ctgkit.net.http import Asked, split_target
from ctgkit.server.door import Gate
from ctgkit.server.livepage import page_answers, page_files

FILES = page_files()
ANSWERS = page_answers(ask_token=False)
GATE = Gate(token_digests={}, viewer_token=None, page=ANSWERS)


def answer(path):
    own_path, query = split_target(path)
    return GATE.route(
        Asked(method="GET", path=own_path, query=query, target=path, header=lambda name: [])
    )


def test_everything_the_page_asks_for_is_there():
    """Links, imports and icons lead to files that are served."""
    wanted = re.findall(r'(?:href|src)="(/[^"]+)"', FILES["index.html"])
    for name, text in FILES.items():
        if name.endswith(".js"):
            wanted += [f"/page/{f}" for f in re.findall(r'from "\./([^"]+)"', text)]
    assert len(wanted) > 8
    for path in [*wanted, "/"]:
        assert answer(path).status == 200, path
    assert answer("/page/").status == answer("/page/../app.py").status == 404


@pytest.mark.parametrize("path", sorted(ANSWERS))
def test_policy(path):
    """No file may run or load anything that isn't ours."""
    headers = dict(ANSWERS[path].headers)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_inline_or_foreign(name):
    """The policy would refuse it: addresses of others, inline styles and handlers, markup sinks."""
    text = FILES[name].replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?://|//cdn|@import|innerHTML|insertAdjacentHTML|eval\(", text)
    assert name != "index.html" or not re.search(r"style=|\bon\w+=|<style|<script>", text)


def test_numbers_and_colours_come_from_display():
    """The alarms are display's, and the style sheet names no colour of its own."""
    numbers = json.loads(FILES["display.js"].removeprefix("export const DISPLAY = ")[:-2])
    assert {k: a["delay_s"] for k, a in numbers["alarms"].items()} == {
        kind: rule.delay_s for kind, rule in ALARMS.items()
    }
    assert not re.search(
        r"#[0-9a-f]{3,8}\b(?![^{]*\{)|rgb|hsl", FILES["page.css"] + FILES["tiles.css"]
    )
    used = set(re.findall(r"var\(--(\w+)\)", FILES["page.css"] + FILES["tiles.css"]))
    assert used <= set(COLOURS)
    for colour in COLOURS.values():
        assert colour.light in FILES["colours.css"]
        assert colour.dark in FILES["colours.css"]


def test_the_page_knows_whether_to_ask_for_the_token():
    """But not the token itself."""
    asking = page_answers(ask_token=True)["/page/access.js"].body
    assert asking == b"export const ASK_TOKEN = true;\n"
