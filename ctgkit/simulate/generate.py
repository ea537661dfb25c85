"""``ctgkit generate``: a scenario's signal and truth as files, without a network."""

import functools
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit import __version__, private
from ctgkit.cli.jobs import in_order, jobs_option
from ctgkit.cli.options import command, json_option, option, seed_option
from ctgkit.cli.progress import counted
from ctgkit.cli.streams import DASH, or_stdout
from ctgkit.cli.types import JSON_LINES, RATE, SECONDS, SENSORS, OutFile
from ctgkit.errors import RecordingError
from ctgkit.simulate import SIGNAL_VERSION
from ctgkit.simulate.scenario_option import scenario_option

if TYPE_CHECKING:
    from ctgkit.events import Event
    from ctgkit.simulate.block import Rendered
    from ctgkit.simulate.scenario import Scenario
    from ctgkit.simulate.sensor import Sensor

SAMPLES_MAX = 10_000_000
"""Longest signal of one sensor. Chosen: 29 days at 4 Hz, some 2 GB of memory."""
TRUTH_NOTE = "nominal values of a simulation, not measurements"


def numbered(path: Path, index: int, count: int) -> Path:
    """Return *path* for one sensor: unchanged for one, ``name-07.csv.gz`` for many.

    >>> numbered(Path("a/s.csv.gz"), 7, 60).as_posix()
    'a/s-07.csv.gz'
    >>> numbered(Path("m0.05.npz"), 0, 12).as_posix()
    'm0.05-00.npz'
    """
    if count == 1:
        return path
    ending = path.suffix
    inner = Path(path.stem).suffix
    if ending.lower() == ".gz" and inner[1:2].isalpha():
        ending = inner + ending
    stem = path.name.removesuffix(ending)
    return path.with_name(f"{stem}-{index:0{len(str(count - 1))}d}{ending}")


def _npz(rendered: "Rendered", origin: str, events: bytes) -> bytes:
    import numpy as np

    sec, fhr, uterus, spasms = rendered.chunk
    arrays: dict[str, Any] = {"sec": sec, "bpm": fhr, "uterus": uterus, "spasms": spasms}
    arrays |= rendered.truth._asdict()
    buffer = io.BytesIO()
    labels: dict[str, Any] = {"simulated": origin, "signal_version": SIGNAL_VERSION}
    np.savez_compressed(buffer, **arrays, **labels, events_jsonl=events.decode())
    return buffer.getvalue()


def truth_lines(sensor: "Sensor", about: dict[str, Any], faults: "Sequence[Event]" = ()) -> bytes:
    """Return the truth up to the sensor's position as JSON lines: a header, then one event each.

    *faults* are what happened to the samples on their way.
    """
    import msgspec

    events = sorted((*sensor.events(), *faults), key=lambda event: event.onset_s)
    header = {"simulated": True, "note": TRUTH_NOTE, "signal_version": SIGNAL_VERSION, **about}
    lines = [json.dumps(header).encode(), *map(msgspec.json.encode, events)]
    return b"\n".join(lines) + b"\n"


def write_sensor(sensor: "Sensor", out: Path, truth: Path | None, about: dict[str, Any]) -> int:
    """Write one sensor's samples, and its truth; return how many events happened."""
    rendered = sensor.render(0, sensor.n_samples or 0)
    sensor.seek(sensor.n_samples or 0)
    lines = truth_lines(sensor, about)
    origin = (
        f"simulated by ctgkit {__version__}, scenario {about['scenario']}, seed {about['seed']}, "
        f"sensor {about['sensor']}, signal_version {SIGNAL_VERSION}: not a patient"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        private.write_bytes(out, _npz(rendered, origin, lines))
    else:
        from ctgkit.recording import Recording, write_recording

        sec, fhr_bpm, uterus, spasms = rendered.chunk
        write_recording(
            Recording(
                sec_from_start=sec,
                fhr_bpm=fhr_bpm,
                uterus=uterus,
                spasms=spasms,
                # all of a CSV file is numbers then: its header holds the mark
                sensor_id="" if ".csv" in out.name else f"simulated-{about['sensor']}",
                simulated=True,
                comments=(origin,),
                events=tuple(sensor.events()),
            ),
            out,
        )
    if truth is not None:
        truth.parent.mkdir(parents=True, exist_ok=True)
        private.write_bytes(truth, lines)
    return lines.count(b"\n") - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """Options of `ctgkit generate`."""

    scenario: str = scenario_option("What to simulate")
    out: Path = option(
        "--out",
        type=OutFile(parents=True, stdout=True),
        required=True,
        help="FILE.csv[.gz], .npz, .jsonl[.gz], .hea, .edf or .parquet; of many sensors"
        " FILE-00.csv, …; - writes CSV to standard output.",
    )
    truth: Path | None = option(
        "--truth",
        type=OutFile(parents=True, **JSON_LINES),
        help="Write the true events to FILE, as JSON lines.",
    )
    duration: float | None = option(
        "--duration", type=SECONDS, help="Seconds of data; default: the scenario's own duration."
    )
    sensors: int = option(
        "--sensors", type=SENSORS, default=1, help="Number of sensors; each is a different patient."
    )
    rate: float = option("--rate", type=RATE, default=4.0, help="Samples/s.")
    seed: int = seed_option("the scenario")
    as_json: bool = json_option("Print one JSON object per file.")
    jobs: int | None = jobs_option("sensors")


@command(
    GenerateOptions,
    example="ctgkit generate --scenario intrapartum-cohort --sensors 60 --out sim/s.csv.gz",
)
def generate(options: GenerateOptions) -> None:
    """Write a scenario's signal and truth to files.

    The samples of sensor i are the ones that `ctgkit sensor` sends with the same scenario and seed.
    """
    from ctgkit.recording.files.registry import format_of
    from ctgkit.simulate.library import load_scenario

    out, sensors = options.out, options.sensors
    to_stdout = str(out) == DASH
    if to_stdout and sensors > 1:
        raise click.UsageError("--out -: of one sensor only")
    try:
        writes = to_stdout or format_of(out).writes
    except RecordingError as error:
        raise click.BadParameter(str(error), param_hint="--out") from error
    if not writes:
        raise click.BadParameter(f"{out.name}: this format is only read", param_hint="--out")
    loaded = load_scenario(options.scenario)
    length_s = loaded.duration_s if options.duration is None else options.duration
    if length_s * options.rate > SAMPLES_MAX:
        reason = f"--duration times --rate is more than {SAMPLES_MAX} samples, held in memory"
        raise click.UsageError(reason)
    made = in_order(
        functools.partial(_generated, options, loaded, length_s), range(sensors), options.jobs
    )
    for text in counted(made, "generating", "sensors", sensors):
        if not to_stdout:
            click.echo(text)


def _generated(options: GenerateOptions, loaded: "Scenario", length_s: float, index: int) -> str:
    """Write the files of one sensor; return what is said of them."""
    from ctgkit.simulate.sensor import Sensor

    sensors = options.sensors
    sensor = Sensor(
        loaded, seed=options.seed, index=index, rate_hz=options.rate, duration_s=length_s
    )
    about = {
        "scenario": sensor.patient.scenario.id,
        "seed": options.seed,
        "sensor": index,
        "rate_hz": options.rate,
        "duration_s": length_s,
    }
    path = numbered(options.out, index, sensors)
    truth = numbered(options.truth, index, sensors) if options.truth else None
    with or_stdout(path, ".csv") as held:
        events = write_sensor(sensor, held, truth, about)
    if options.as_json:
        return json.dumps({"file": str(path), "events": events, **about})
    return str(path)
