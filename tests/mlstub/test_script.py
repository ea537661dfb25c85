"""The scripted ML service: rules that decide, and a socket that obeys them."""

import asyncio
import json
import tracemalloc
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ctgkit.errors import ConfigError
from ctgkit.mlstub.script import OVERSIZED_BYTES, Canned, Performance, Rule, Script, parse_script
from ctgkit.mlstub.service import MlService, MlSettings

SENSOR = "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d7e"
NOW = "2026-01-01T00:00:00.000Z"


def request(sec=1.0, fhr=140.0, sensor_id=SENSOR):
    data = {"BPMChild": fhr, "uterus": 10.0, "spasms": 0.0}
    return json.dumps({"sensorID": sensor_id, "secFromStart": sec, "data": data})


def perform(*rules, requests=None, **script):
    performance = Performance(Script(rule=list(rules), **script), lambda text: honest(text))
    return [performance.act(r, NOW) for r in requests or [request()]]


def test_only_an_oversized_answer_costs_its_size():
    """At full speed a service that builds one for nothing looks silent."""
    tracemalloc.start()
    perform(Rule(prediction=Canned(hypoxia_probability=0.9)), Rule())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < OVERSIZED_BYTES / 2


def honest(text):
    return json.dumps(json.loads(text) | {"prediction": None, "status": "ok"}).encode()


@pytest.mark.parametrize(
    ("rule", "matching", "other"),
    [
        (Rule(from_s=300, answer="silence"), request(300.0), request(299.75)),
        (Rule(to_s=300, answer="silence"), request(299.75), request(300.0)),
        (Rule(fhr_below=100, answer="silence"), request(fhr=99.0), request(fhr=100.0)),
        (Rule(fhr_below=100, answer="silence"), request(fhr=99.0), request(fhr=None)),
        (Rule(fhr_above=160, answer="silence"), request(fhr=161.0), request(fhr=160.0)),
        (Rule(sensor=SENSOR.upper(), answer="silence"), request(), request(sensor_id="other")),
        (Rule(matching=r"Start.: 7\b", answer="silence"), request(7), request(8)),
    ],
)
def test_a_rule_chooses_its_requests(rule, matching, other):
    """By data time, heart rate, sensor, or a pattern in the text."""
    assert [a.text is None for a in perform(rule, requests=[matching, other])] == [True, False]


def test_the_first_rule_decides_and_none_means_honest():
    rules = (Rule(fhr_above=150, answer="silence"), Rule(fhr_above=130, text="spoken"))
    acts = perform(*rules, requests=[request(fhr=f) for f in (160.0, 140.0, 120.0)])
    assert [a.text for a in acts] == [None, b"spoken", honest(request(fhr=120.0))]


def test_every_nth():
    acts = perform(Rule(every=3, answer="silence"), requests=[request()] * 7)
    assert [a.text is None for a in acts] == [False, False, True] * 2 + [False]


def test_a_share_by_seed():
    """The seed alone decides which; the share is kept."""
    rule, requests = Rule(probability=0.25, answer="silence"), [request()] * 400
    one, again, other = (
        [a.text is None for a in perform(rule, requests=requests, seed=seed)] for seed in (1, 1, 2)
    )
    assert one == again != other
    assert 60 < sum(one) < 140


def test_delays_jitter_within_their_bounds():
    delays = [a.delay_s for a in perform(Rule(delay_s=1, jitter_s=0.5), requests=[request()] * 50)]
    assert all(1 <= d <= 1.5 for d in delays)
    assert len(set(delays)) > 40


def test_canned_predictions():
    """Risk and status follow the probability unless the script lies on purpose."""
    canned = Canned(hypoxia_probability=0.9, alerts=["now"])
    (act,) = perform(Rule(prediction=canned, sensor_id="someone else"))
    answer = json.loads(act.text)
    assert answer["prediction"]["hypoxia_risk"] == answer["status"] == "critical"
    assert answer["prediction"]["alerts"] == ["now"]
    assert (answer["sensorID"], answer["secFromStart"]) == ("someone else", 1.0)
    (act,) = perform(
        Rule(prediction=Canned(hypoxia_probability=0.9, hypoxia_risk="low"), status="ok")
    )
    assert json.loads(act.text)["prediction"]["hypoxia_risk"] == "low"
    assert json.loads(act.text)["status"] == "ok"


def test_wrong_answers():
    """Each kind is what its name says."""
    acts = perform(
        *(
            Rule(matching=f"Start.: {n}", answer=answer)
            for n, answer in enumerate(("error", "garbage", "truncated", "oversized", "plain"))
        ),
        requests=[request(float(n)) for n in range(5)],
    )
    error, garbage, truncated, oversized, plain = (a.text for a in acts)
    assert json.loads(error)["status"] == "error"
    for text in (garbage, truncated):
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
    assert json.loads(oversized)["sensorID"] == SENSOR
    assert len(oversized) > OVERSIZED_BYTES
    assert json.loads(plain)["prediction"] is None


def test_a_wrong_id_in_an_honest_answer():
    (act,) = perform(Rule(sensor_id="someone else"))
    assert json.loads(act.text) == json.loads(honest(request(sensor_id="someone else")))


def test_an_unreadable_request_meets_rules_without_conditions_on_samples():
    unconditional, conditional = Rule(answer="silence"), Rule(from_s=0, answer="silence")
    for rule, spoken in ((unconditional, False), (conditional, True)):
        performance = Performance(Script(rule=[rule]), lambda _: b"honest")
        assert (performance.act("{", NOW).text is not None) == spoken


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[rule]]\nanswr = 'silence'", "answr"),
        ("[[rule]]\nanswer = 'sulk'", "sulk"),
        ("[[rule]]\ndelay_s = -1", "delay_s"),
        ("[[rule]]\nprobability = 2", "probability"),
        ("[[rule]]\nmatching = '('", "unterminated"),
        ("[[rule", "array"),
    ],
)
def test_a_wrong_script_says_where(text, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_script(text, "script.toml")


async def test_a_served_script():
    """Late, silent, then gone: over a real socket, answers stay in order."""
    script = parse_script(
        "disconnect_after = 4\n[[rule]]\nfrom_s = 1\nto_s = 2\nanswer = 'silence'\n"
        "[[rule]]\nto_s = 1\ndelay_s = 0.2",
        "test",
    )
    loop = asyncio.get_running_loop()
    async with (
        MlService(MlSettings(port=0, script=script)) as service,
        connect(service.url, compression=None) as backend,
    ):
        began_s = loop.time()
        for sec in (0.0, 1.0, 2.0, 3.0):
            await backend.send(request(sec))
        heard = [json.loads(await backend.recv())["secFromStart"] for _ in range(3)]
        assert heard == [0.0, 2.0, 3.0]
        assert loop.time() - began_s >= 0.2
        with pytest.raises(ConnectionClosed):
            await backend.recv()
        async with connect(service.url, compression=None) as again:
            await again.send(request(2.0))
            assert json.loads(await again.recv())["secFromStart"] == 2.0


def test_the_example_is_a_script():
    path = Path(__file__).parent.parent.parent / "examples" / "ml_script.toml"
    assert len(parse_script(path.read_text(), str(path)).rule) == 4
