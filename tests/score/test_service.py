"""`ctgkit score --ml`: scenarios played to somebody's ML service."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

import numpy as np
import pytest
from websockets.asyncio.server import serve

from ctgkit.errors import ConfigError, Unreachable
from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.score import progress
from ctgkit.score.service import IN_FLIGHT_MAX, PlaySettings, play, play_in_turn
from ctgkit.simulate import SIGNAL_VERSION
from ctgkit.simulate.library import load_scenario, scenario_names
from ctgkit.simulate.sensor import Sensor


def settings(url, *names, **more):
    scenarios = [load_scenario(name) for name in names or ("late-decels-severe",)]
    return PlaySettings(url=url, scenarios=scenarios, **({"timeout_s": 5.0} | more))


@asynccontextmanager
async def service(answer):
    """Serve an ML service that answers each request with what *answer* returns, if anything."""

    async def converse(connection):
        async for text in connection:
            if (reply := answer(json.loads(text))) is not None:
                await connection.send(reply)

    async with serve(converse, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/ctg"


def minimal(request, probability=0.1):
    """Return a result with what the specification asks for, and nothing else."""
    predicted = {
        "hypoxia_probability": probability, "hypoxia_risk": "low", "alerts": [],
        "confidence": 0.5, "recommendations": [],
    }  # fmt: skip
    return json.dumps(
        {
            "sensorID": request["sensorID"],
            "secFromStart": request["secFromStart"],
            "data": request["data"],
            "prediction": predicted if request["secFromStart"] >= 300 else None,
            "status": "critical" if probability > 0.8 else "ok",
            "timestamp": "",
        }
    )


async def test_our_stub_is_scored_over_one_connection():
    async with MlService(MlSettings(port=0)) as stub:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ctgkit", "score", "--ml", stub.url, "--json", "-q",
            "--scenarios", "late-decels-severe,labour", "--duration", "450",
            "--min-f1", "contraction=0.6", "--max-delay-s", "1",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert stub.counts.requests == 2 * 450 * 4
        assert stub.counts.rejected == {}
    report = json.loads(out)
    assert [r["name"] for r in report["recordings"]] == ["late-decels-severe", "labour"]
    for one in report["recordings"]:
        assert one["baseline"]["rmsd_bpm"] < 5
        assert one["alarms"]["by_code"]
    assert [t["kept"] for t in report["thresholds"]] == [True, False]
    assert process.returncode == 1


async def test_a_minimal_service_is_scored_by_its_alarms():
    seen = []

    def answer(request):
        seen.append(request)
        return minimal(request, 0.9)

    async with service(answer) as url:
        (one,) = await play(settings(url, "tachycardia-fever", duration_s=930.0))
    assert one.tallies is None
    assert one.baseline_rmsd_bpm is None
    assert (one.alarms.wanted, one.alarms.met, one.alarms.raised) == (1, 1, 1)
    assert not one.alarms_by_code
    assert set(seen[0]) == {"sensorID", "secFromStart", "data"}


async def test_a_service_that_is_silent_is_noticed_and_not_flooded():
    seen = []
    async with service(seen.append) as url:
        with pytest.raises(Unreachable, match=r"silent for 0\.3 s, owes \d+ answers"):
            await play(settings(url, timeout_s=0.3))
    assert 0 < len(seen) <= IN_FLIGHT_MAX


async def test_a_service_that_hangs_up_is_lost():
    async def hang_up(connection):
        await connection.recv()
        connection.transport.abort()

    async with serve(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match="lost"):
            await play(settings(f"ws://127.0.0.1:{port}/ws/ctg"))


async def test_garbage_and_missing_answers_stop_nothing(caplog):
    count = 0

    def answer(request):
        nonlocal count
        count += 1
        return [minimal(request), None, "garbage", minimal(request)][count % 4]

    async with service(answer) as url:
        (one,) = await play(settings(url, duration_s=320.0))
    assert one.alarms.raised == 0
    assert "can't be read" in caplog.text
    assert "requests were not answered" in caplog.text


@pytest.mark.parametrize("probability", [1.7, -0.1])
async def test_a_probability_that_is_none_is_not_scored(probability, caplog):
    async with service(lambda request: minimal(request, probability)) as url:
        (one,) = await play(settings(url, "hypoxia-acute", duration_s=320.0))
    assert one.risks is None
    assert f"{probability} is outside 0 to 1" in caplog.text


async def test_nobody_listens():
    with pytest.raises(Unreachable):
        await play(settings("ws://127.0.0.1:9/ws/ctg"))


async def test_real_time_is_kept():
    began_s = asyncio.get_running_loop().time()
    async with service(minimal) as url:
        await play(settings(url, duration_s=20.0, speed=60.0))
    assert asyncio.get_running_loop().time() - began_s >= 0.3


# Out of time, and on again

SHORT = ("quiet-sleep-1F", "labour", "late-decels-severe", "tachycardia", "bradycardia",
         "sinusoidal", "active-4F", "weak-wireless")  # fmt: skip


def known(*names):
    return [n for n in names if n in scenario_names()][:8]


async def test_a_run_that_is_out_of_time_goes_on_later(tmp_path):
    """What is finished is kept; the second run plays only the rest."""
    names = known(*SHORT)
    asked = []

    def answer(request):
        asked.append(request["sensorID"])
        return minimal(request)

    kept = {}
    async with service(answer) as url:
        some = settings(url, *names[:3], duration_s=300)
        first = await play_in_turn(some, None, {}, kept.update)
        assert [s.name for s in first.scores] == names[:3]
        path = tmp_path / "state.json"
        progress.save(path, {"seed": 0}, kept)
        done = progress.load(path, {"seed": 0})
        assert done == kept
        before = len(set(asked))
        everything = settings(url, *names, duration_s=300)
        second = await play_in_turn(everything, None, done, kept.update)
    assert [s.name for s in second.scores] == names
    assert len(set(asked)) - before == len(names) - 3
    with pytest.raises(ConfigError, match="another seed"):
        progress.load(path, {"seed": 1})


async def test_out_of_time_is_said_and_scored_in_part():
    """A slow service gets figures for what it heard."""
    names = known(*SHORT)

    async with service(minimal) as url:
        slow = settings(url, *names, duration_s=7200, speed=2000.0)
        played = await play_in_turn(slow, 1.0, {}, lambda _done: None)
    assert len(played.partial) + len(played.left) >= 2
    assert {*played.partial, *played.left} <= set(names)
    assert [s.name for s in played.scores] == list(played.partial)


async def test_probability_alone_is_scored():
    """A service that says nothing else gets more than dashes."""

    async with service(lambda r: minimal(r, 0.9)) as url:
        (one,) = await play(settings(url, "late-decels-severe", duration_s=1800))
    assert one.tallies is None
    assert one.calls is not None
    assert one.calls.moments
    assert one.scored


async def score_of(url, *arguments, scenarios="quiet-sleep"):
    """Run ``ctgkit score --ml`` over 310 s; return exit code, its figures and what it logged."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ctgkit", "score", "--ml", url, "--json", "--duration", "310",
        "--scenarios", str(scenarios), *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, log = await process.communicate()
    return process.returncode, out, log.decode()


async def test_patients_of_another_signal_version_are_not_mixed_in(tmp_path):
    """A run to go on with, and one to compare with, that another version of ctgkit made."""
    state, earlier = tmp_path / "state.json", tmp_path / "earlier.json"
    async with service(minimal) as url:
        _, out, _ = await score_of(url, "--resume", state)
        earlier.write_bytes(out)
        assert json.loads(out)["signal_version"] == SIGNAL_VERSION
        for file in (state, earlier):
            file.write_text(file.read_text().replace(f'"{SIGNAL_VERSION}"', '"0.9"'))
        code, _, log = await score_of(url, "--resume", state)
        assert (code, "another signal_version" in log) == (4, True)
        _, _, log = await score_of(url, "--against", earlier, "--seed", 1)
    assert f"signal version 0.9, this run of {SIGNAL_VERSION}" in log
    assert "of patients of seed 0, this run of 1" in log


async def test_a_scenario_file_that_has_changed_is_not_resumed(tmp_path):
    mine, state = tmp_path / "mine.toml", tmp_path / "state.json"
    mine.write_text("[meta]\nextends = 'labour'")
    async with service(minimal) as url:
        for text, expected in (("", 0), ("[fhr]\nbaseline_bpm = 110", 4)):
            mine.write_text(f"[meta]\nextends = 'labour'\n{text}")
            code, _, log = await score_of(url, "--resume", state, scenarios=mine)
            assert code == expected, log
    assert "another scenario_file" in log


async def test_a_cohort_is_played_patient_by_patient():
    """The same ones that ``ctgkit generate --sensors 7`` writes, a few at a time."""
    first_bpm, names = {}, [f"intrapartum-cohort-{i}" for i in range(7)]

    def answer(request):
        first_bpm.setdefault(request["sensorID"], request["data"]["BPMChild"])
        return minimal(request)

    async with service(answer) as url:
        code, out, _ = await score_of(url, "--sensors", 7, scenarios="intrapartum-cohort")
    assert code == 0
    report = json.loads(out)
    assert [r["name"] for r in report["recordings"]] == names
    assert report["overall"]["hypoxia_probability"]["others"] == 7
    cohort = load_scenario("intrapartum-cohort")
    chunks = [Sensor(cohort, seed=0, index=i).read(1) for i in range(7)]
    expected = [None if np.isnan(one.fhr_bpm[0]) else one.fhr_bpm[0] for one in chunks]
    assert list(first_bpm.values()) == expected
