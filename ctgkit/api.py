"""What ``import ctgkit`` offers; everything else is private by convention.

A test tool, not a medical device.

>>> import ctgkit
>>> trace = ctgkit.generate("late-decels-severe", seed=7, duration_s=1200)
>>> report = ctgkit.analyze(trace)
>>> result = ctgkit.score_report(trace, report)
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctgkit.analysis import Analyzer, AnalyzerSettings, Report
from ctgkit.analysis import analyze as _analyze
from ctgkit.config import SensorEntry
from ctgkit.errors import CtgkitError
from ctgkit.events import Event
from ctgkit.judging import check_backend, check_ml
from ctgkit.recording import (
    Recording,
    read_one,
    read_recording,
    read_recordings,
    write_recording,
    write_recordings,
)
from ctgkit.running import Running, run_backend, run_ml, run_sensors
from ctgkit.samples import Prediction, Sample

if TYPE_CHECKING:
    from ctgkit.score.scoring import Score

__all__ = [
    "Analyzer",
    "AnalyzerSettings",
    "CtgkitError",
    "Event",
    "Prediction",
    "Recording",
    "Report",
    "Running",
    "Sample",
    "SensorEntry",
    "analyze",
    "check_backend",
    "check_ml",
    "draw",
    "generate",
    "read_recording",
    "read_recordings",
    "run_backend",
    "run_ml",
    "run_sensors",
    "scenario_names",
    "score_report",
    "write_recording",
    "write_recordings",
]


def scenario_names() -> tuple[str, ...]:
    """Return the names of the shipped scenarios."""
    from ctgkit.simulate.library import scenario_names as names

    return tuple(names())


def generate(
    scenario: str = "normal-reactive",
    *,
    seed: int = 0,
    sensor: int = 0,
    duration_s: float = 3600.0,
    rate_hz: float = 4.0,
) -> Recording:
    """Return simulated samples with their truth.

    Parameters
    ----------
    scenario : str
        A shipped scenario (:func:`scenario_names`) or a TOML file.
    seed : int
        The same seed gives the same samples on every machine.
    sensor : int
        Which sensor of the run, from 0: each is another patient.
    duration_s : float
        Length, seconds; a longer run begins with the shorter one.
    rate_hz : float
        Samples per second.

    Returns
    -------
    Recording
        ``events`` holds what truly happens in it.

    Raises
    ------
    ScenarioError
        When the scenario cannot be read.
    """
    from ctgkit import __version__
    from ctgkit.recording.origin import mark
    from ctgkit.simulate import SIGNAL_VERSION
    from ctgkit.simulate.library import load_scenario
    from ctgkit.simulate.sensor import Sensor

    source = Sensor(load_scenario(scenario), seed, sensor, rate_hz, duration_s)
    chunk = source.read(source.n_samples or 0)
    about = {"scenario": source.patient.scenario.id, "seed": seed, "sensor": sensor}
    return Recording(
        **chunk._asdict(),
        simulated=True,
        comments=(mark(__version__, about, SIGNAL_VERSION),),
        events=tuple(source.events()),
    )


def analyze(recording: Recording | Path | str, settings: AnalyzerSettings | None = None) -> Report:
    """Return what the analyzer finds: events, baseline, features, class and prediction.

    Parameters
    ----------
    recording : Recording, Path or str
        A recording, or the file of a single one.
    settings : AnalyzerSettings or None
        How to analyse.

    Raises
    ------
    RecordingError
        When the file cannot be read.
    """
    if not isinstance(recording, Recording):
        recording = read_one(Path(recording))
    return _analyze(recording, settings)


def draw(
    recording: Recording | Path | str,
    out: Path | str,
    *,
    report: Report | None = None,
    speed_cm_min: int = 1,
    baseline: bool = False,
) -> int:
    """Draw a recording on CTG paper, true to scale, and return the number of sheets.

    Parameters
    ----------
    recording : Recording, Path or str
        A recording, or the file of a single one.
    out : Path or str
        ``.pdf`` for A4 sheets, ``.png`` or ``.svg`` for one strip.
    report : Report or None
        What to mark; None: the events that the recording has, such as a simulation's truth.
    speed_cm_min : int
        Paper speed, cm/min: 1, 2 or 3.
    baseline : bool
        Draw the baseline of *report*.

    Raises
    ------
    CtgkitError
        When matplotlib is missing, or the file cannot be read or written.
    """
    from ctgkit.drawing import load_matplotlib

    load_matplotlib("draw")
    import msgspec

    from ctgkit.paper.printing import Printing, print_subject
    from ctgkit.paper.subject import Subject, findings_of

    if not isinstance(recording, Recording):
        recording = read_one(Path(recording))
    said = (
        report.as_dict()
        if report
        else {"events": [msgspec.to_builtins(event) for event in recording.events]}
    )
    subject = Subject(recording, findings_of(said, "draw"), bool(recording.simulated))
    wanted = Printing(speed_cm_min=speed_cm_min, baseline=baseline)
    return print_subject(subject, Path(out), wanted, "recording")


def score_report(truth: Recording | Iterable[Event], found: Report | Mapping[str, Any]) -> "Score":
    """Score what an analyzer found against the truth of a simulation.

    Parameters
    ----------
    truth : Recording or iterable of Event
        From :func:`generate`: its events.
    found : Report or mapping
        From :func:`analyze`, or a mapping of the same shape as ``Report.as_dict()``.

    Returns
    -------
    Score
        Counts and figures per kind of event, baseline and alarms.

    Raises
    ------
    ValueError
        When the truth is not that of a simulation, or *found* has another shape.
    """
    import msgspec

    from ctgkit.score.results import from_report
    from ctgkit.score.scoring import score
    from ctgkit.score.truth import simulated

    events = list(truth.events if isinstance(truth, Recording) else truth)
    plain = found.as_dict() if isinstance(found, Report) else dict(found)
    return score(simulated("truth", events), from_report(msgspec.json.encode(plain)))
