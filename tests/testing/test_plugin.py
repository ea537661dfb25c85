"""The plugin in test runs of its own: what it says, skips, refuses, and what it doesn't import."""

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np  # noqa: F401 - loaded before the runs inside this process, which can't twice
import pytest

from ctgkit.config import new_sensors, write_config
from ctgkit.net.loopthread import LoopThread
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings
from tests.conftest import TIME_FACTOR

ROOT = Path(__file__).parent.parent.parent
DOCUMENTATION, CONFTEST = ROOT / "docs" / "testing.md", ROOT / "tests" / "conftest.py"
HEAVY = {"numpy", "websockets", "hypothesis", "rich", "msgspec", "sqlite3", "asyncio"}
TESTS = """
import pytest

def test_seen(ctgkit_backend, ctgkit_sensor, ctgkit_viewer):
    ctgkit_sensor.play(duration_s=10)
    ctgkit_viewer.wait_for(count=40)
    assert {m["sensorID"] for m in ctgkit_viewer.messages} == {ctgkit_sensor.id}

def test_more(ctgkit_sensor, ctgkit_viewer):
    ctgkit_sensor.send(140)
    ctgkit_viewer.wait_for()

def test_database(ctgkit_backend):
    assert ctgkit_backend.database.exists()

def test_ml(ctgkit_backend, ctgkit_ml):
    pass

def test_stop(ctgkit_backend):
    ctgkit_backend.stop()
"""


@pytest.fixture
def foreign(pytester):
    """A backend that isn't the plugin's, with its sensors in the tests' ctgkit.toml."""
    sensors = new_sensors(2)
    write_config(pytester.path / "ctgkit.toml", sensors)
    settings = BackendSettings(
        sensors=sensors, database=pytester.path / "theirs.db", port=0, ml_url=None
    )
    with LoopThread() as loop, loop.holding(run_backend(settings)) as backend:
        yield backend


def run(pytester, *arguments):
    """Run pytest in this process, which has already loaded what can be loaded only once."""
    return pytester.runpytest_inprocess("-W", "error", "-p", "no:cacheprovider", *arguments)


def assert_stored(backend, count):
    """Assert that a backend has so many samples; the last ones may be on their way to the disk."""
    deadline_s = time.monotonic() + 60 * TIME_FACTOR
    while backend.stored < count and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert backend.stored == count


def test_loading_the_plugin_imports_nothing_heavy():
    """Everybody who has CTGKit installed pays for it at every test run."""
    code = "import sys; before = set(sys.modules); import ctgkit.testing.plugin;"
    code += "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    done = subprocess.run(
        [sys.executable, "-c", "import pytest;" + code], capture_output=True, text=True, check=True
    )
    assert "ctgkit" in done.stdout.split()
    assert not HEAVY & set(done.stdout.split())


def test_who_waits_in_vain_is_told_what_was_seen(pytester):
    """How many messages, since when, the last ones; and on which message a predicate failed."""
    pytester.makepyfile(
        """
        import pytest

        def test_never(ctgkit_sensor, ctgkit_viewer):
            for fhr_bpm in (140, 150):
                ctgkit_sensor.send(fhr_bpm)
            ctgkit_viewer.wait_for(lambda m: m["status"] == "critical", 0.2)

        def test_wrong_predicate(ctgkit_sensor, ctgkit_viewer):
            ctgkit_sensor.send(140)
            ctgkit_viewer.wait_for(lambda m: m["prediction"]["alerts"])

        @pytest.mark.ctgkit_scenario("normal-reactiv")
        def test_wrong_scenario(ctgkit_sensor):
            ctgkit_sensor.play()

        @pytest.mark.ctgkit_ml_script({"answr": "silence"})
        def test_wrong_rule(ctgkit_ml):
            pass
        """
    )
    assert "not a whole number" in run(pytester, "--ctgkit-seed=-1").stderr.str()
    result = run(pytester, "--ctgkit-seed=7")
    result.assert_outcomes(failed=3, errors=1)
    result.stdout.fnmatch_lines(["ctgkit: its own backend, --ctgkit-seed=7"])
    result.stdout.fnmatch_lines([
        "E * a message for which the predicate holds: not seen within 0.2 s",
        "E * 2 messages came since the viewer connected *",
        "E * status: 2 x ok; sensors: 2 x *",
        "E * the last 2:",
        'E *"BPMChild": 140*',
        'E *"BPMChild": 150*',
    ])  # fmt: skip
    result.stdout.fnmatch_lines(['E *the predicate was asked about {"sensorID"*'])
    result.stdout.fnmatch_lines(["*ScenarioError*no such scenario*normal-reactive*"])
    result.stdout.fnmatch_lines(["*ConfigError: marker ctgkit_ml_script*answr*"])


def test_the_same_tests_run_against_another_backend(pytester, foreign, monkeypatch):
    """With this worker's share of its sensors; what needs more than its address is skipped."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    pytester.makepyfile(TESTS)
    result = run(pytester, f"--ctgkit-url={foreign.url}")
    result.assert_outcomes(passed=2, skipped=3)
    for reason in (
        f"needs an ML stub, and {foreign.url} has an ML service of its own",
        f"needs its database, and {foreign.url} isn't CTGKit's to touch",
        f"needs to stop it, and {foreign.url} isn't CTGKit's to touch",
    ):
        result.stdout.fnmatch_lines([f"ctgkit: 1 skipped: {reason}"])
    assert_stored(foreign, 41)


@pytest.mark.slow  # three more processes; every run of our own tests with -n tries it, too
def test_workers_of_xdist_share_another_backend(pytester, foreign):
    """Without taking each other's sensors away."""
    pytester.makepyfile(test_one=TESTS, test_two=TESTS)
    result = pytester.runpytest_subprocess("-n", "2", "-W", "error", f"--ctgkit-url={foreign.url}")
    result.assert_outcomes(passed=4, skipped=6)
    assert_stored(foreign, 82)


def test_the_tests_in_the_documentation_pass(pytester):
    """All of them, with the imports that they leave out."""
    imports = "import pytest\nfrom hypothesis import HealthCheck, given, settings\n"
    imports += "from ctgkit.testing import strategies\n"
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    code = "\n".join(blocks).replace("deadline=None", "deadline=None, max_examples=10")
    pytester.makepyfile(imports + code)
    pytester.makeconftest(CONFTEST.read_text())
    run(pytester).assert_outcomes(passed=4)


def test_a_backend_that_isnt_there_is_named(pytester, monkeypatch):
    """And so are missing credentials."""
    pytester.makepyfile("def test_it(ctgkit_backend): pass")
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path))
    result = run(pytester, "--ctgkit-url=http://127.0.0.1:9")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *--ctgkit-url needs sensors that the backend knows*"])
    write_config(pytester.path / "ctgkit.toml", new_sensors(1))
    result = run(pytester, "--ctgkit-url=http://127.0.0.1:9")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *http://127.0.0.1:9: nothing listens here*"])
