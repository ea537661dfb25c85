"""`ctgkit check`: what people and scripts see."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from ctgkit.check.checks import Check, Verdict
from ctgkit.check.report import as_junit, summary
from tests.check.benches import served


def ctgkit(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "ctgkit", "check", *arguments],
        capture_output=True, text=True, timeout=110, check=False, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    """A served backend: its URL and a directory with the configuration it uses."""
    with served(tmp_path_factory.mktemp("served")) as url_and_directory:
        yield url_and_directory


def test_a_report_for_people(backend):
    url, directory = backend
    done = ctgkit("backend", url, "--only", "S-1.2,M-2.2", cwd=directory)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["S-1.2/absent", "pass"]
    assert "skipped: needs --ml-listen" in done.stdout
    assert "not a medical device" in lines[-1]
    assert "\x1b" not in done.stdout


def test_a_report_for_scripts(backend):
    """One object on stdout, JUnit beside it."""
    url, directory = backend
    done = ctgkit(
        "backend", url, "--only", "S-1.2", "--only", "S-2.3/limit", "--json", "--junit", "out.xml",
        cwd=directory,
    )  # fmt: skip
    report = json.loads(done.stdout)
    counts = {"pass": 2, "warn": 0, "fail": 0, "skipped": 1, "not judged": 0, "blocked": 0}
    assert report["counts"] == counts
    assert report["verdicts"][0]["clause"] == "S-1.2"
    suite = ElementTree.parse(directory / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "0", "1")


def test_nothing_checked_is_a_failure(backend):
    url, directory = backend
    done = ctgkit("backend", url, "--only", "M-4.1", cwd=directory)
    assert done.returncode == 1
    assert "15 skipped" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["backend"], 2, "URL is required"),
        (["backend", "ftp://x"], 2, "ws://HOST:PORT"),
        (["backend", "http://127.0.0.1:9", "--only", "S-99"], 2, "S-99"),
        (["backend", "http://127.0.0.1:9", "--ml-listen", "here:x"], 2, "HOST:PORT"),
        (["backend", "http://127.0.0.1:9", "--store", "x.db"], 2, "sqlite:///PATH"),
        (["backend", "http://127.0.0.1:9"], 3, "nothing listens there"),
        (["ml", "ws://127.0.0.1:9/ws/ctg"], 3, "nothing listens there"),
        (["ml", "ws://127.0.0.1:9/ws/ctg", "--config", "missing.toml"], 4, "missing.toml"),
    ],
)
def test_exit_codes(tmp_path, arguments, code, text):
    done = ctgkit(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_cannot_be_read(backend):
    url, directory = backend
    done = ctgkit("backend", url, "--store", "sqlite:///missing.db", cwd=directory)
    assert done.returncode == 4
    assert "missing.db" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["backend", "ml"])
def test_the_list(target):
    """Every check with its level and title; no target is needed."""
    listed = ctgkit(target, "--list", "--json")
    assert listed.returncode == 0, listed.stderr
    checks = json.loads(listed.stdout)
    assert len(checks) > 25
    assert {c["level"] for c in checks} <= {"MUST", "SHOULD"}
    assert checks[0]["id"] in ctgkit(target, "--list").stdout


def verdict(outcome, actual="nothing came"):
    async def run(_bench):
        pass

    check = Check(id="S-1.1/x", title="A title", run=run)
    return Verdict(check=check, outcome=outcome, expected="101", actual=actual)


def test_junit_carries_what_was_expected():
    """A warning is a failure only when strict; control characters don't break the XML."""
    verdicts = [verdict("fail", "bell \x07"), verdict("warn"), verdict("pass")]
    for strict, failures in ((False, 1), (True, 2)):
        suite = ElementTree.fromstring(as_junit("x", verdicts, strict))
        assert len(suite.findall(".//failure")) == int(suite.get("failures")) == failures
    assert "expected: 101" in suite.find(".//failure").text


def test_the_last_line_counts():
    assert summary([verdict("pass"), verdict("pass"), verdict("fail")]).startswith("2 pass, 1 fail")
    assert summary([]).startswith("nothing was checked")
