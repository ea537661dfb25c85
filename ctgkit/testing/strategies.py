"""Hypothesis strategies: what a sensor may send, what it must not, and what a viewer gets.

Each function returns a strategy::

    from hypothesis import given
    from ctgkit.testing import strategies

    @given(strategies.results())
    def test_my_consumer_reads_every_result(text):
        my_consumer.read(text)
"""

import json
from datetime import UTC
from typing import Any

from hypothesis import strategies as st

from ctgkit.check.backend.samples import GOOD
from ctgkit.check.histories import (
    BAD,
    HISTORY_MAX,
    LETTERS,
    NOISE,
    PARTINGS,
    STEPS,
    Step,
    frame_of,
)
from ctgkit.samples import (
    FHR_MAX_BPM,
    FHR_MIN_BPM,
    RATE_HZ,
    SEC_FROM_START_MAX_S,
    SEQ_MAX,
    TOCO_MAX,
    TOCO_MIN,
    Prediction,
    Sample,
    Status,
    risk_of,
    status_of,
)
from ctgkit.simulate.knobs import KNOBS
from ctgkit.simulate.library import scenario_names, scenario_text
from ctgkit.simulate.scenario import Scenario, parse_scenario
from ctgkit.testing.history import History, Part, Send
from ctgkit.wire import decode_frame, encode_result, encode_sample

SENSOR_ID = "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d00"
"""Whose samples are drawn unless told."""
FRAME_SAMPLES_MAX = 5
WHOLE_SEC_MAX = 1_000_000
"""Latest data time of the samples whose spelling is the point, seconds."""
KNOBS_MAX = 5
"""Most knobs that a drawn scenario turns."""


def samples(sensor_id: str = SENSOR_ID, *, numbered: bool = False) -> st.SearchStrategy[Sample]:
    """Draw valid samples of one sensor, each by itself: any data time, any value that is allowed.

    Parameters
    ----------
    sensor_id : str
        UUID, lower case.
    numbered : bool
        With sequence numbers, as under ``ctgkit.v1``.
    """
    toco = st.none() | st.floats(TOCO_MIN, TOCO_MAX)
    return st.builds(
        Sample,
        sensor_id=st.just(sensor_id),
        sec_from_start=st.floats(0, SEC_FROM_START_MAX_S),
        fhr_bpm=st.none() | st.floats(FHR_MIN_BPM, FHR_MAX_BPM),
        uterus=toco,
        spasms=toco,
        seq=st.integers(0, SEQ_MAX) if numbered else st.none(),
    )


def frames(sensor_id: str = SENSOR_ID) -> st.SearchStrategy[str | bytes]:
    """Draw frames that every backend must take: one sample or an array, text or binary.

    Every spelling that PROTOCOL.md allows occurs: keys in other cases, members left out or
    unknown, ``null``, integers, white space.
    """
    written = samples(sensor_id).map(encode_sample)
    arrays = st.lists(written, min_size=1, max_size=FRAME_SAMPLES_MAX).map(
        lambda texts: b"[" + b",".join(texts) + b"]"
    )
    spelt = st.builds(
        lambda make, sec: make(float(sec)),
        st.sampled_from([make for _, make in GOOD.values()]),
        st.integers(0, WHOLE_SEC_MAX),
    )
    encoded = written | arrays
    return st.one_of(encoded.map(bytes.decode), encoded, spelt)


def hostile_frames(sensor_id: str = SENSOR_ID) -> st.SearchStrategy[str | bytes]:
    """Draw frames of which no backend may keep anything, at most 16 KiB long.

    Wrong types, values out of range, NaN, cut or nested JSON, invalid UTF-8, noise, and JSON that
    resembles a sample.
    """
    cut = samples(sensor_id).map(lambda sample: encode_sample(sample)[:-1])
    drawn: st.SearchStrategy[str | bytes] = st.one_of(
        st.sampled_from(sorted(BAD.values(), key=repr)), NOISE, cut, json_values().map(json.dumps)
    )
    return drawn.filter(lambda frame: not decode_frame(frame, sensor_id)[0])


def json_values() -> st.SearchStrategy[Any]:
    """Draw JSON values whose members have the names of a sample's: some are one by chance."""
    example = json.loads(encode_sample(Sample(SENSOR_ID, 0.0, None, None, None, 0)))
    names = sorted({*example, *example["data"], "bpmchild"})
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=5)
    return st.recursive(
        scalars,
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(st.sampled_from(names), children, max_size=6)
        ),
        max_leaves=12,
    )


def predictions() -> st.SearchStrategy[Prediction]:
    """Draw predictions whose risk goes with their probability."""
    texts = st.lists(st.text(LETTERS, max_size=20), max_size=2)
    share = st.floats(0, 1)
    return share.flatmap(
        lambda probability: st.builds(
            Prediction,
            hypoxia_probability=st.just(probability),
            hypoxia_risk=st.just(risk_of(probability)),
            alerts=texts,
            confidence=share,
            recommendations=texts,
        )
    )


@st.composite
def results(draw: st.DrawFn, sensor_id: str = SENSOR_ID) -> str:
    """Draw messages as a viewer gets them: with a prediction, without, or without an ML service.

    The members beyond the contract that CTGKit's own stub adds are left out.
    """
    prediction = draw(st.none() | predictions())
    status: Status = "ok"
    if prediction is not None:
        status = status_of(prediction.hypoxia_probability)
    elif draw(st.booleans()):
        status = "error"  # nobody answered: the backend shows the sample by itself
    at = draw(st.datetimes(timezones=st.just(UTC)))
    timestamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return encode_result(draw(samples(sensor_id)), prediction, status, timestamp).decode()


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Draw scenarios: a shipped one with a few knobs turned to any value that they allow."""
    turned = draw(
        st.dictionaries(st.sampled_from(sorted(KNOBS)), st.floats(0, 1), max_size=KNOBS_MAX)
    )
    lines = ["[meta]", f'extends = "{draw(st.sampled_from(scenario_names()))}"']
    for path in sorted(turned):  # a section's knobs stand together, as TOML wants them
        section, _, key = path.partition(".")
        if f"[{section}]" not in lines:
            lines.append(f"[{section}]")
        knob = KNOBS[path]
        lines.append(f"{key} = {knob.low + turned[path] * (knob.high - knob.low)!r}")
    text = "\n".join(lines)
    return parse_scenario("drawn", lambda name: text if name == "drawn" else scenario_text(name))


def histories(from_s: float = 0.0) -> st.SearchStrategy[History]:
    """Draw what may happen to one sensor: good frames, hostile ones, and ends of connections.

    Parameters
    ----------
    from_s : float
        Data time from which the valid samples follow each other, seconds.
    """
    return st.lists(STEPS, max_size=HISTORY_MAX).map(lambda steps: _history(steps, from_s))


def _history(steps: list[Step], from_s: float) -> History:
    times = _Times(from_s)
    return History(tuple(_concrete(step, times) for step in steps))


def _concrete(step: Step, times: "_Times") -> Send | Part:
    if step[0] in PARTINGS:
        return Part(step[0])  # type: ignore[arg-type]  # one of these words
    frame, secs = frame_of(step, times)
    return Send(frame, tuple(secs))


class _Times:
    """Data times of one history, each once."""

    def __init__(self, from_s: float) -> None:
        self._next_s = from_s

    def sec(self) -> float:
        return self.leap(1 / RATE_HZ)

    def leap(self, seconds: float) -> float:
        begin_s = self._next_s
        self._next_s += seconds
        return begin_s
