"""``ctgkit generate``: a scenario's signal and truth as files, without a network."""

import contextlib
import functools
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit import __version__, private
from ctgkit.cli.jobs import in_order, jobs_option
from ctgkit.cli.options import command, json_option, option, seed_option
from ctgkit.cli.progress import counted
from ctgkit.cli.streams import DASH, or_stdout, whole_or_not
from ctgkit.cli.types import JSON_LINES, RATE, SECONDS, SENSORS, OutFile
from ctgkit.errors import RecordingError
from ctgkit.recording import origin
from ctgkit.simulate import SIGNAL_VERSION
from ctgkit.simulate.scenario_option import scenario_option

if TYPE_CHECKING:
    from ctgkit.events import Event
    from ctgkit.recording import Recording
    from ctgkit.simulate.block import Rendered
    from ctgkit.simulate.scenario import Scenario
    from ctgkit.simulate.sensor import Sensor
    from ctgkit.simulate.source import Chunk

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


def _npz(rendered: "Rendered", mark: str, events: bytes) -> bytes:
    import numpy as np

    sec, fhr, uterus, spasms = rendered.chunk
    arrays: dict[str, Any] = {"sec": sec, "bpm": fhr, "uterus": uterus, "spasms": spasms}
    arrays |= rendered.truth._asdict()
    buffer = io.BytesIO()
    labels: dict[str, Any] = {"simulated": mark, "signal_version": SIGNAL_VERSION}
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
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".npz":
        with whole_or_not(out) as unfinished:
            private.write_bytes(unfinished, _npz(rendered, _origin(about), lines))
    else:
        from ctgkit.recording import write_recording
        from ctgkit.recording.files.registry import format_of

        # all of a CSV file is numbers then: its header holds the mark
        named = format_of(out).name != "csv"
        write_recording(_recording(rendered.chunk, about, sensor.events(), named=named), out)
    return _write_truth(truth, lines)


def _origin(about: dict[str, Any]) -> str:
    return origin.mark(__version__, about, SIGNAL_VERSION)


def _recording(
    chunk: "Chunk", about: dict[str, Any], events: "Iterable[Event]" = (), *, named: bool = True
) -> "Recording":
    from ctgkit.recording import Recording

    return Recording(
        sec_from_start=chunk.sec_from_start,
        fhr_bpm=chunk.fhr_bpm,
        uterus=chunk.uterus,
        spasms=chunk.spasms,
        sensor_id=f"simulated-{about['sensor']}" if named else "",
        simulated=True,
        comments=(_origin(about),),
        events=tuple(events),
    )


def _write_truth(truth: Path | None, lines: bytes) -> int:
    """Write the truth where it is wanted; return how many events it has."""
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
        help="FILE.csv[.gz], .npz, .jsonl[.gz], .hea, .edf or .parquet, replaced if it exists; of"
        " many sensors FILE-00.csv, … (sensors count from 0, files of `convert` from 1); - writes"
        " CSV to standard output.",
    )
    one_file: bool = option(
        "--one-file",
        is_flag=True,
        help="Write all sensors into one FILE.parquet or .csv[.gz], one after the other; its"
        " column `sensor` says whose each row is.",
    )
    truth: Path | None = option(
        "--truth",
        type=OutFile(parents=True, **JSON_LINES),
        help="Write the true events to FILE, as JSON lines; of many sensors FILE-00.jsonl, ….",
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
    from ctgkit.simulate.library import load_scenario

    out, sensors = options.out, options.sensors
    to_stdout = str(out) == DASH
    _check_format(options)
    loaded = load_scenario(options.scenario)
    length_s = loaded.duration_s if options.duration is None else options.duration
    if length_s * options.rate > SAMPLES_MAX:
        reason = f"--duration times --rate is more than {SAMPLES_MAX} samples, held in memory"
        raise click.UsageError(reason)
    work = functools.partial(
        _rendered if options.one_file else _generated, options, loaded, length_s
    )
    with (
        contextlib.closing(in_order(work, range(sensors), options.jobs)) as made,
        contextlib.closing(counted(made, "generating", "sensors", sensors)) as done,
    ):
        for text in (_together(options, loaded.id, length_s, done),) if options.one_file else done:
            if not to_stdout:
                click.echo(text)


def _check_format(options: GenerateOptions) -> None:
    """Refuse an --out that cannot hold what is asked."""
    from ctgkit.recording.files.registry import format_of

    out, several = options.out, options.sensors > 1
    if str(out) == DASH:
        if several and not options.one_file:
            raise click.UsageError("--out -: of one sensor, or of all with --one-file")
        return
    try:
        found = format_of(out)
    except RecordingError as error:
        raise click.BadParameter(str(error), param_hint="--out") from error
    if not found.writes:
        raise click.BadParameter(f"{out.name}: this format is only read", param_hint="--out")
    if options.one_file and not found.as_they_come:
        reason = f"{out.name}: --one-file writes .parquet, .csv or .csv.gz"
        raise click.BadParameter(reason, param_hint="--out")


def _sensor(
    options: GenerateOptions, loaded: "Scenario", length_s: float, index: int
) -> "tuple[Sensor, dict[str, Any]]":
    """Return a sensor, and what is said of it everywhere."""
    from ctgkit.simulate.sensor import Sensor

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
    return sensor, about


def _generated(options: GenerateOptions, loaded: "Scenario", length_s: float, index: int) -> str:
    """Write the files of one sensor; return what is said of them."""
    sensor, about = _sensor(options, loaded, length_s, index)
    path = numbered(options.out, index, options.sensors)
    truth = numbered(options.truth, index, options.sensors) if options.truth else None
    with or_stdout(path, ".csv") as held:
        events = write_sensor(sensor, held, truth, about)
    if options.as_json:
        return json.dumps({"file": str(path), "events": events, **about})
    return str(path)


def _rendered(
    options: GenerateOptions, loaded: "Scenario", length_s: float, index: int
) -> "tuple[Recording, int]":
    """Write the truth of one sensor; return its samples and how many events happened."""
    sensor, about = _sensor(options, loaded, length_s, index)
    chunk = _read_all(sensor)
    truth = numbered(options.truth, index, options.sensors) if options.truth else None
    events = _write_truth(truth, truth_lines(sensor, about))
    return _recording(chunk, about), events


def _read_all(sensor: "Sensor") -> "Chunk":
    """Read a sensor to its end, a block at a time: the truth of all would be twice as large."""
    import numpy as np

    from ctgkit.simulate.block import BLOCK
    from ctgkit.simulate.source import Chunk

    pieces = [sensor.read(BLOCK)]
    while len(pieces[-1].sec_from_start):
        pieces.append(sensor.read(BLOCK))
    return Chunk(*map(np.concatenate, zip(*pieces, strict=True)))


def _together(
    options: GenerateOptions, scenario: str, length_s: float, made: "Iterable[Any]"
) -> str:
    """Write the samples of all sensors into one file as they come; return what is said of it."""
    from ctgkit.recording.files.registry import write

    out = options.out
    n_events = 0

    def recordings() -> "Iterator[Recording]":
        nonlocal n_events
        for one, events in made:
            n_events += events
            yield one

    if str(out) != DASH:
        out.parent.mkdir(parents=True, exist_ok=True)
    with or_stdout(out, ".csv") as held:
        write(recordings(), held)
    if not options.as_json:
        return str(out)
    about = {"scenario": scenario, "seed": options.seed, "sensors": options.sensors}
    return json.dumps(
        {"file": str(out), "events": n_events, **about,
         "rate_hz": options.rate, "duration_s": length_s}
    )  # fmt: skip
