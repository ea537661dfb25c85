"""The fixtures in tests that freeze the clock: what waits ends, what plays is stored."""

import datetime

from tests.extras import need

need("freezegun")

FROZEN = """
import datetime, sqlite3, threading
import freezegun
import pytest
from contextlib import closing

def stored(backend):
    with closing(sqlite3.connect(backend.database)) as db:
        return db.execute("SELECT count(*) FROM ctg").fetchone()[0]

@pytest.fixture
def frozen():
    with freezegun.freeze_time("2026-01-01") as clock:
        yield clock

def test_waiting_ends(ctgkit_viewer):
    with freezegun.freeze_time("2026-01-01"), pytest.raises(AssertionError, match="not seen"):
        ctgkit_viewer.wait_for(lambda message: False, timeout_s=0.3)

def test_what_is_played_twice_in_one_moment_is_stored_twice(ctgkit_backend, ctgkit_sensor):
    ctgkit_sensor.play(duration_s=1)
    for moment in ("1999-01-01", "2026-01-01", "2026-01-01"):
        with freezegun.freeze_time(moment):
            assert ctgkit_sensor.play(duration_s=5).acked == 20
    assert stored(ctgkit_backend) == 64

@pytest.mark.usefixtures("frozen", "ctgkit_ml")
def test_everything_starts_and_ends_while_it_is_frozen(ctgkit_sensor, ctgkit_viewer):
    ctgkit_sensor.start(speed=100)
    seen = ctgkit_viewer.wait_for(count=20)
    assert datetime.datetime.now().year == 2026
    assert ctgkit_sensor.stop().sent >= 20

@pytest.mark.ctgkit_ml_script({"answer": "honest", "delay_s": 0.05})
def test_a_late_answer_comes(frozen, ctgkit_ml, ctgkit_sensor, ctgkit_viewer):
    ctgkit_sensor.send(140)
    assert ctgkit_viewer.wait_for()["status"] == "ok"

@freezegun.freeze_time("2026-01-01", tick=False)
def test_a_restart(ctgkit_backend, ctgkit_sensor):
    ctgkit_sensor.send(140)
    ctgkit_backend.stop()
    ctgkit_backend.start()
    ctgkit_sensor.leave()
    ctgkit_sensor.send(141)
"""


def test_a_frozen_clock_stops_nothing(pytester):
    """Whether the clock stands still for a part of a test, or from before the fixtures' start."""
    pytester.makepyfile(FROZEN)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q", timeout=60)
    result.assert_outcomes(passed=5)


def test_the_clock_that_is_frozen_is_not_ours():
    """What we read goes on while everybody else's clock stands still."""
    import time

    import freezegun

    from ctgkit.clock import monotonic_s

    with freezegun.freeze_time("2026-01-01"):
        stopped, before = time.monotonic(), monotonic_s()
        while monotonic_s() == before:
            pass
        assert time.monotonic() == stopped
        assert datetime.datetime.now(datetime.UTC).year == 2026
