"""The README, followed from top to bottom in one shell, and its Russian twin."""

import re
import socket
import time
import tomllib
from pathlib import Path

import click
import pytest

from tests.shell import Shell, command_of, own_network, sh_lines

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
RUSSIAN = (ROOT / "README.ru.md").read_text()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PORTS = (8080, 8081, 9000)


def test_it_is_short():
    """Two hundred lines are what somebody reads."""
    assert len(README.splitlines()) <= 200


def test_the_russian_one_has_the_same_commands():
    """Only the remarks differ."""
    ours, theirs = (list(map(command_of, sh_lines(text))) for text in (README, RUSSIAN))
    assert theirs == ours
    assert len(ours) > 20


def test_both_lead_to_the_same_places():
    """Links and pictures, in order; in Russian to the Russian page where there is one."""
    ours, theirs = (re.findall(r"\]\(([^)]+)\)", text)[1:] for text in (README, RUSSIAN))
    in_russian = [link.replace("docs/", "docs/ru/", 1) for link in ours]
    there = [(ROOT / link).exists() for link in in_russian]
    pairs = zip(in_russian, ours, there, strict=True)
    assert theirs == [russian if exists else link for russian, link, exists in pairs]
    assert sum(there) > 3


BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "ru").rglob("*.md")), ids=str)
def test_a_russian_page_shows_what_the_english_one_does(page):
    """The same commands and files in the same order; of a tutorial all of them."""
    inner = page.relative_to(ROOT / "docs" / "ru")
    english = BLOCK.findall((ROOT / "docs" / inner).read_text())
    russian = BLOCK.findall(page.read_text())
    left = iter(english)
    assert all(block in left for block in russian), "another order, or another command"
    assert russian
    if inner.parts[0] == "tutorials":
        assert russian == english


RUSSIAN_PAGES = [ROOT / "README.ru.md", *sorted((ROOT / "docs" / "ru").rglob("*.md"))]


@pytest.mark.parametrize("page", RUSSIAN_PAGES, ids=lambda page: page.name)
def test_options_named_in_russian_exist(page):
    """What stands in backquotes and begins with -- is an option of some command."""
    from ctgkit.cli.main import SECTIONS, cli

    def options(group, names):
        for name in names:
            found = group.get_command(click.Context(group), name)
            if isinstance(found, click.Group):
                yield from options(found, found.list_commands(click.Context(found)))
            for one in found.params:
                yield from one.opts

    known = set(options(cli, [name for names in SECTIONS.values() for name in names]))
    known |= {"--ctgkit-url"}  # pytest's
    named = re.findall(r"`[^`\n]*?(--[a-z][a-z-]+)", BLOCK.sub("", page.read_text()))
    assert set(named) <= known


def test_what_is_installed_exists():
    """The extras that are named are declared."""
    named = re.findall(r"\[([a-z,]+)\]['\"]", "\n".join(sh_lines(README)))
    assert set(",".join(named).split(",")) <= set(EXTRAS)


def steps():
    """Yield the lines to type, without what installs, and whether a view has to be quit."""
    for line in sh_lines(README):
        parts = command_of(line).split(" && ")
        kept = [p for p in parts if not re.search(r"-m venv |\bpip install |-m pytest", p)]
        if kept:
            yield " && ".join(kept), "; q " in line or ", q " in line or kept[-1].endswith(" demo")


def ports_are_free():
    for port in PORTS:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return False
    return True


@pytest.mark.slow
def test_it_can_be_followed_literally(tmp_path):
    """One shell, each line in its order, servers started and stopped where it says so."""
    if own_network() is None and not ports_are_free():
        pytest.skip(f"one of the ports {PORTS} is taken, and no network of our own can be made")
    clone = tmp_path / "clone"
    clone.mkdir()
    shell = Shell(clone)
    try:
        for line, quits in steps():
            code, said = shell.run(line, quits=quits)
            assert code == 0, f"{line}\n{said[-3000:]}"
            assert "Traceback" not in said, f"{line}\n{said[-3000:]}"
        _, running = shell.run("wait; jobs")
        assert "ctgkit" not in running.replace("Done", "").partition("Running")[2]
    finally:
        shell.close()
    made = {path.name for path in (clone / "ward").iterdir()}
    assert {"ctgkit.toml", "ctgkit.db", "labour.csv", "labour.pdf", "exam.csv", "run.jsonl"} <= made


@pytest.mark.slow
def test_nothing_outlives_the_shell(tmp_path):
    """Also where a line failed before the servers were stopped."""
    shell = Shell(tmp_path)
    _, said = shell.run("sleep 1000 & echo pid=$!")
    shell.close()
    stat = Path("/proc", re.search(r"pid=(\d+)", said)[1], "stat")
    ends_s = time.monotonic() + 30
    while stat.exists() and ") Z" not in stat.read_text():  # killed, but nobody has taken note
        assert time.monotonic() < ends_s
