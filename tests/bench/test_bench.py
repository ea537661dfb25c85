"""Real runs: against our backend as processes, and against small backends of other kinds."""

import platform

import pytest

from ctgkit.bench import load
from ctgkit.bench.backend import Backend
from ctgkit.bench.knee import judge
from ctgkit.bench.load import measure, probe
from ctgkit.config import SensorEntry
from ctgkit.errors import Unreachable
from tests.bench.toys import Toy, running
from tests.flow.processes import System
from tests.ports import free_port

QUICK = {"rate_hz": 20.0, "warm_up_s": 0.1, "window_s": 0.5}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What is lost on this machine is lost soon."""
    monkeypatch.setattr(load, "SETTLE_S", 0.5)


def backend_at(base, count=40, token="right"):
    """Return a backend and credentials for it."""
    sensors = tuple(
        SensorEntry(id=f"00000000-0000-4000-8000-{n:012d}", token=token) for n in range(count)
    )
    return Backend(base=base, sensors=sensors)


async def test_a_slow_backend_is_found_out():
    """It takes 4 ms a sample, one after another: 2 sensors of 20 Hz are no trouble, 20 are."""
    async with running(Toy(s_per_sample=0.004)) as base:
        backend = backend_at(base)
        await probe(backend)
        assert (backend.seen_at, backend.acks, backend.health) == ("viewer", False, {})
        few = await measure(backend, 2, **QUICK)
        assert (few.due, few.lost, few.cut, few.statuses.keys()) == (20, 0, 0, {"ok"})
        many = await measure(backend, 20, **QUICK | {"window_s": 0.3})
        # 400 samples/s for 0.4 s, at most 250/s worked off: the queue ends 0.24 s or more long
        assert many.p99_ms > max(150.0, few.p99_ms)
        assert many.lost == 0
        assert judge(many, 1.0).verdict != "held"


async def test_what_a_backend_forgets_is_lost():
    """Every fifth sample: that many are missed, exactly."""
    async with running(Toy(forgets_every=5, acks=True)) as base:
        level = await measure(backend_at(base), 4, **QUICK)
        assert level.due == 40
        assert level.lost in (8, 9, 10)  # the warm-up's are not counted
        assert level.samples_per_s == (40 - level.lost) / 0.5
        assert "samples were lost" in judge(level, 1e9).why


@pytest.mark.parametrize(("acks", "seen_at"), [(True, "ack"), (False, "pong")])
async def test_without_viewers_something_else_counts(acks, seen_at):
    """Acknowledgements, or else the answer to a ping behind the sample."""
    async with running(Toy(viewers=False, acks=acks)) as base:
        backend = backend_at(base)
        await probe(backend)
        assert (backend.seen_at, backend.acks) == (seen_at, acks)
        level = await measure(backend, 4, **QUICK | {"window_s": 1.0})
        assert judge(level, 1e9).verdict == "held"
        assert (level.lost, level.unacked) == (0, 0)
        assert 0 < level.p50_ms <= level.p99_ms <= level.max_ms
        assert level.samples_per_s == pytest.approx(80.0)


async def test_a_full_backend_fails_the_level_and_a_wrong_token_ends_it():
    """503 depends on the load, 401 doesn't."""
    toy = Toy()
    async with running(toy) as base:
        toy.refuse_beyond = 3
        level = await measure(backend_at(base), 5, **QUICK)
        assert "could not connect: answered 503: full" in judge(level, 50.0).why
        with pytest.raises(Unreachable, match="401: who are you"):
            await probe(backend_at(base, token="wrong"))


async def test_a_generator_at_its_limit_says_so():
    """More than one process can send: not the backend's fault."""
    async with running(Toy()) as base:
        level = await measure(backend_at(base), 1, rate_hz=400_000, warm_up_s=0, window_s=0.03)
        assert level.lateness_p99_ms > 5.0
        assert judge(level, 5.0).verdict == "generator"


async def test_nobody_listens():
    """That is said at once, also when the backend dies during the search."""
    backend = backend_at(f"ws://127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable, match=r"refused|[Cc]onnect"):
        await probe(backend)
    with pytest.raises(Unreachable, match=r"refused|[Cc]onnect"):
        await measure(backend, 3, **QUICK)


async def test_our_own_backend_from_the_command_line(tmp_path):
    """Processes: table on stderr, JSON on stdout, an exit code; our echo is its ML service."""
    system = System(tmp_path)
    try:
        system.configure(6)
        port = free_port()
        backend = await system.serve(ml=f"ws://127.0.0.1:{port}/ws/ctg").announced()
        quick = ("--window", 0.5, "--warm-up", 0.2, "--max-p99-ms", 5000, "--json")
        bench = system.start(
            *("bench", backend.url, *quick, "--sensors", "2,6", "--min-sensors", 6),
            *("--ml-listen", f"127.0.0.1:{port}"),
        )
        beyond = system.start("bench", backend.url, "--sensors", 7)
        assert await bench.ended(20) == 0, bench.err
        (found,) = bench.lines()
        assert [(n["sensors"], n["due"], n["lost"]) for n in found["levels"]] == [
            (2, 4, 0), (6, 12, 0)
        ]  # fmt: skip
        assert found["knee"]["sensors"] == 6
        assert (found["seen_at"], found["acks"], found["simulated"]) == ("viewer", True, True)
        assert found["backend"]["service"] == "ctgkit"
        assert found["machine"]["python"] == platform.python_version()
        assert found["settings"]["rate_hz"] == 4.0
        assert found["levels"][1]["statuses"]["ok"] >= 12
        for text in ("sensors samples/s", "settings", "machine", "holds"):
            assert text in bench.err
        # the probe and both levels leave an examination each: --help says so
        assert system.query("SELECT count(*) FROM examinations") == [(3,)]
        assert await beyond.ended() == 2
        assert "credentials for 6 sensors" in beyond.err
    finally:
        system.end()
