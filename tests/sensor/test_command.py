"""``ctgkit sensor`` as users run it: a process of its own."""

import asyncio
import json
import os
import signal
import sys

import numpy as np
import pytest

from ctgkit import run_backend
from ctgkit.config import new_sensors, write_config
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor
from tests.sensor.backends import Backend, running, until


@pytest.fixture
def env(tmp_path):
    """An environment of this test's own, with no configuration."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CTGKIT_")}
    homes = ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
    return kept | {name: str(tmp_path / name) for name in homes}


@pytest.fixture
def sensors(tmp_path):
    """A configuration with three sensors in the working directory."""
    three = new_sensors(3)
    write_config(tmp_path / "ctgkit.toml", three)
    return three


async def start(*arguments, cwd, env):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ctgkit", "sensor", *arguments, cwd=cwd, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def finish(process):
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def run(*arguments, cwd, env):
    return await finish(await start(*arguments, cwd=cwd, env=env))


async def test_summary_as_json_and_as_text(tmp_path, env, sensors):
    """The configuration's first sensors are taken; the summary is on stdout alone."""
    backend = Backend()
    async with running(backend) as url:
        common = ("--url", url, "--sensors", "2", "--duration", "5", "--speed", "max")
        code, out, err = await run(*common, "--json", cwd=tmp_path, env=env)
        assert code == 0, err
        summary = json.loads(out)
        assert (summary["sensors"], summary["sent"], summary["acked"]) == (2, 40, 40)
        assert {i for i, _ in backend.received} == {s.id for s in sensors[:2]}
        code, out, err = await run(*common, "--rate", "8", cwd=tmp_path, env=env)
        assert code == 0, err
        assert "sent 80 samples: 80 acked, 0 rejected, 0 outstanding" in out
        assert "INFO sensor connected" in err


async def test_a_recording_is_played_value_for_value(tmp_path, env, sensors):
    """--from sends the file's rows at the file's times; 0 becomes null."""
    rows = [(0.5, 140.25, 10.0), (0.75, 0, 10.5), (2.0, 141.0, 0.0)]
    text = "sec,bpm,uterus\n" + "".join(f"{s},{b},{u}\n" for s, b, u in rows)
    (tmp_path / "trace.csv").write_text(text)
    backend = Backend()
    async with running(backend) as url:
        arguments = ("--url", url, "--from", "trace.csv", "--speed", "10")
        code, _, err = await run(*arguments, cwd=tmp_path, env=env)
    assert code == 0, err
    assert [(s["secFromStart"], s["data"]) for _, s in backend.received] == [
        (sec, {"BPMChild": bpm or None, "uterus": uterus, "spasms": None})
        for sec, bpm, uterus in rows
    ]


async def test_nothing_accepted_is_no_success(tmp_path, env, sensors):
    """Exit code 1 and the reasons, when all or a part was rejected; --allow-rejected says 0."""
    (tmp_path / "trace.csv").write_text("sec,bpm\n" + "".join(f"{n / 4},140\n" for n in range(8)))
    for every, refused in ((1, 8), (4, 2)):
        backend = Backend()
        backend.reject_every = every
        async with running(backend) as url:
            arguments = ("--url", url, "--from", "trace.csv", "--speed", "max")
            code, out, err = await run(*arguments, cwd=tmp_path, env=env)
            assert code == 1
            assert f"{refused} of 8 samples rejected: {refused} x range" in err
            code, out, err = await run(
                *arguments, "--allow-rejected", "--json", cwd=tmp_path, env=env
            )
            assert code == 0, err
            assert json.loads(out)["reject_reasons"] == {"range": refused}


async def test_each_sensor_plays_its_own_recording(tmp_path, env, sensors):
    """Of a file with two; one sensor alone says that it plays the first of them."""
    rows = "".join(f"{n / 4},140,150\n" for n in range(8))
    (tmp_path / "twins.csv").write_text("sec,FHR1,FHR2\n" + rows)
    backend = Backend()
    async with running(backend) as url:
        common = ("--url", url, "--from", "twins.csv", "--speed", "max")
        code, _, err = await run(*common, "--sensors", "2", cwd=tmp_path, env=env)
        assert code == 0, err
        played = {(i, s["data"]["BPMChild"]) for i, s in backend.received}
        assert played == {(sensors[0].id, 140), (sensors[1].id, 150)}
        backend.received.clear()
        code, _, err = await run(*common, cwd=tmp_path, env=env)
        assert "more recordings than there are sensors (1)" in err
        assert "--sensors 2 plays one more" in err
        code, _, _ = await run(*common, "--fetus", "2", "--rate", "2", cwd=tmp_path, env=env)
        assert [s["secFromStart"] for _, s in backend.received[-8:]] == [n / 2 for n in range(8)]
        assert backend.received[-1][1]["data"]["BPMChild"] == 150


async def test_truth_and_samples_are_those_of_generate(tmp_path, env, sensors):
    """A scenario, a seed and a sensor number give the same samples and events everywhere."""
    backend = Backend()
    chosen = ("--scenario", "late-decels-mild", "--seed", "5", "--sensors", "2")
    async with running(backend) as url:
        arguments = ("--url", url, *chosen, "--duration", "1200", "--speed", "max")
        code, _, err = await run(*arguments, "--truth", "truth.jsonl", cwd=tmp_path, env=env)
        assert code == 0, err
    sensor = Sensor(load_scenario("late-decels-mild"), seed=5, index=1)
    values = np.nan_to_num(sensor.read(4800).fhr_bpm)
    mine = [s["data"]["BPMChild"] or 0 for i, s in backend.received if i == sensors[1].id]
    assert mine == values.tolist()
    header, *events = (tmp_path / "truth-1.jsonl").read_text().splitlines()
    assert json.loads(header)["simulated"] is True
    assert json.loads(header)["sensor_id"] == sensors[1].id
    sensor.seek(4800)
    true = [e.id for e in sensor.events()]
    assert len(true) > 10
    assert [json.loads(e)["id"] for e in events][: len(true)] == true


async def test_token_from_file_and_from_the_environment(tmp_path, env):
    """--id with --token-file or CTGKIT_SENSOR_TOKEN needs no configuration."""
    sensor_id = "0D1D0A3E-0000-4000-8000-000000000001"
    (tmp_path / "token").write_text("secret\n")
    backend = Backend()
    backend.token = "secret"
    async with running(backend) as url:
        common = ("--url", url, "--id", sensor_id, "--duration", "1", "--speed", "max")
        code, _, err = await run(*common, "--token-file", "token", cwd=tmp_path, env=env)
        assert code == 0, err
        token = {"CTGKIT_SENSOR_TOKEN": "secret"}
        code, _, err = await run(*common, cwd=tmp_path, env=env | token)
        assert code == 0, err
        token = {"CTGKIT_SENSOR_TOKEN": "wrong"}
        code, out, err = await run(*common, cwd=tmp_path, env=env | token)
        assert code == 3
        assert "answered 401" in err
        assert "sent 0 samples" in out
        assert "secret" not in err + out
    assert {i for i, _ in backend.received} == {sensor_id.lower()}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--sensors", "4"], 2, "--sensors 4: there are credentials for 3"),
        (["--id", "0d1d0a3e-0000-4000-8000-000000000001"], 2, "no credentials for sensor 0d1d0a3e"),
        (["--token-file", "ctgkit.toml"], 4, "ctgkit.toml: is not one line of plain text"),
        (["--url", "ftp://127.0.0.1/"], 2, "is not http(s)://HOST:PORT or ws(s)://HOST:PORT"),
        (["--control", "9001x"], 2, "'9001x' is not HOST:PORT"),
        (["--from", "ctgkit.toml", "--rate", "4"], 4, "ctgkit.toml"),
        (["--from", "ctgkit.toml", "--mother"], 2, "--mother needs a scenario"),
        (["--from", "missing.csv"], 4, "missing.csv: No such file"),
        (["--speed", "0"], 2, "'0' is neither a positive number nor 'max'"),
        (
            ["--url", "ws://127.0.0.1:1/", "--connect-timeout", "0"],
            3,
            "127.0.0.1:1/ws/sensor: ",
        ),
    ],
)
async def test_errors_name_what_is_wrong(tmp_path, env, sensors, arguments, code, said):
    """Exit code and one clear message on stderr."""
    got, _, err = await run(*arguments, cwd=tmp_path, env=env)
    assert (got, said in err) == (code, True), err
    assert "Traceback" not in err


async def test_without_credentials_it_says_what_to_do(tmp_path, env):
    """Usage error that names serve and init."""
    code, _, err = await run(cwd=tmp_path, env=env)
    assert code == 2
    assert "start `ctgkit serve` on this machine first" in err


async def test_default_credentials_are_found(tmp_path, env):
    """What `serve` left in the state directory serves `sensor` without any option but the URL."""
    state = tmp_path / "XDG_STATE_HOME" / "ctgkit"
    state.mkdir(parents=True)
    (known, *_) = new_sensors(3)
    write_config(state / "credentials.toml", (known,))
    backend = Backend()
    backend.token = known.token
    async with running(backend) as url:
        arguments = ("--url", url, "--duration", "1", "--speed", "max")
        code, _, err = await run(*arguments, cwd=tmp_path, env=env)
    assert code == 0, err
    assert {i for i, _ in backend.received} == {known.id}


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_signals_flush_and_print_the_summary(tmp_path, env, sensors, sent, code):
    """SIGTERM ends with 0, Ctrl-C with 130, both after the acknowledgements."""
    backend = Backend()
    async with running(backend) as url:
        arguments = ("--url", url, "--rate", "50", "--json")
        process = await start(*arguments, cwd=tmp_path, env=env)
        await until(lambda: len(backend.received) > 10, "samples")
        process.send_signal(sent)
        got, out, err = await finish(process)
    assert got == code, err
    summary = json.loads(out)
    assert summary["acked"] == summary["sent"] == len(backend.received)
    assert backend.close_codes == [1000]


async def test_a_second_ctrl_c_doesnt_wait(tmp_path, env, sensors):
    """A backend that acknowledges nothing holds the first one for 3 s; the second ends it."""
    backend = Backend()
    backend.silent = True
    async with running(backend) as url:
        process = await start("--url", url, "--rate", "50", cwd=tmp_path, env=env)
        await until(lambda: len(backend.received) > 10, "samples")
        process.send_signal(signal.SIGINT)
        while b"Ctrl-C ends at once" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        got, out, err = await finish(process)
    assert (got, out) == (130, ""), err


async def test_control_address_is_announced(tmp_path, env, sensors):
    """One line per sensor on stdout before anything is sent; nothing sent at all: exit 1."""
    async with running(Backend()) as url:
        arguments = ("--url", url, "--control", "127.0.0.1:0", "--sensors", "2", "--json")
        process = await start(*arguments, cwd=tmp_path, env=env)
        addresses = [json.loads(await process.stdout.readline())["url"] for _ in range(2)]
        assert all(a.startswith("http://127.0.0.1:") for a in addresses)
        assert len(set(addresses)) == 2
        process.send_signal(signal.SIGTERM)
        code, out, err = await finish(process)
    assert code == 1, err
    assert json.loads(out)["sent"] == 0


@pytest.mark.slow
async def test_samples_never_acknowledged_are_an_error(tmp_path, env, sensors):
    """A backend that reads and says nothing: exit 3 after the flush timeout, the loss counted."""
    backend = Backend()
    backend.silent = True
    async with running(backend) as url:
        arguments = ("--url", url, "--duration", "1", "--speed", "max", "--json")
        code, out, err = await run(*arguments, cwd=tmp_path, env=env)
    assert code == 3
    assert json.loads(out)["unacked"] == 4
    assert "4 samples were never taken or acknowledged" in err


async def test_several_patients_in_one_command(tmp_path, env, sensors):
    """Each sensor plays the scenario in its place; the log says who is who."""
    backend = Backend()
    names = ("late-decels-severe", "normal-reactive", "tachysystole")
    common = ("--duration", "60", "--speed", "max", "--truth", "t.jsonl")
    async with running(backend) as url:
        mixed = ("--url", url, "--scenario", ",".join(names))
        code, _, err = await run(*mixed, *common, cwd=tmp_path, env=env)
        assert code == 0, err
        for number, (one, name) in enumerate(zip(sensors, names, strict=True)):
            assert f"sensor {one.id}  bed default  {name}, seed 0, patient {number}" in err
            about = json.loads((tmp_path / f"t-{number}.jsonl").read_text().splitlines()[0])
            assert (about["scenario"], about["sensor"]) == (name, number)
            own = Sensor(load_scenario(name), 0, number, 4.0)
            expected = np.nan_to_num(own.render(0, 240).chunk.fhr_bpm)
            sent = [m["data"]["BPMChild"] or 0 for i, m in backend.received if i == one.id]
            assert np.array_equal(sent, expected)
        code, _, err = await run(*mixed, "--sensors", "2", cwd=tmp_path, env=env)
        assert (code, "--scenario names 3, --sensors 2" in err) == (2, True)


async def test_sensors_of_separate_processes_differ(tmp_path, env, sensors):
    """Without --seed it is made from the id: told, the same each time, and another for another."""
    backend = Backend()
    seeds = []
    async with running(backend) as url:
        for one in (*sensors[:2], sensors[0]):
            named = ("--url", url, "--sensor-id", one.id, "--duration", "60", "--speed", "max")
            _, _, err = await run(*named, cwd=tmp_path, env=env)
            seeds += [int(err.partition("normal-reactive, seed ")[2].partition(",")[0])]
        _, _, err = await run(*named, "--seed", "7", cwd=tmp_path, env=env)
    assert seeds[0] == seeds[2] != seeds[1]
    assert "seed 7, patient 0" in err
    played = [[m["data"] for i, m in backend.received if i == one.id] for one in sensors[:2]]
    assert played[0][:240] != played[1][:240]


async def test_a_sensor_that_was_taken_over_says_what_to_do(tmp_path, env, sensors):
    """It happens to whoever starts `ctgkit sensor` in two terminals."""
    async with run_backend(sensors) as real:
        url = real.url.replace("http", "ws", 1) + "/ws/sensor"
        first = await start("--url", url, cwd=tmp_path, env=env)
        await until(lambda: real.health()["sensors"] == 1, "the first sensor")
        second = await start("--url", url, "--duration", "1", cwd=tmp_path, env=env)
        code, _, err = await finish(first)
        await finish(second)
    assert code == 3
    last = err.splitlines()[-1]
    assert f"sensor {sensors[0].id} connected a second time" in last
    assert "--sensor-id" in last
    assert "--sensors" in last
