"""``ctgkit generate``: a scenario's signal and truth as files, without a network."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit import __version__, private
from ctgkit.cli.options import common_options
from ctgkit.errors import RecordingError

if TYPE_CHECKING:
    from ctgkit.events import Event
    from ctgkit.simulate.sensor import Rendered, Sensor

TRUTH_NOTE = "nominal values of a simulation, not measurements"


def numbered(path: Path, index: int, count: int) -> Path:
    """Return *path* for one sensor: unchanged for one, ``name-07.csv.gz`` for many.

    >>> numbered(Path("a/s.csv.gz"), 7, 60).as_posix()
    'a/s-07.csv.gz'
    """
    if count == 1:
        return path
    stem, dot, suffixes = path.name.partition(".")
    return path.with_name(f"{stem}-{index:0{len(str(count - 1))}d}{dot}{suffixes}")


def _npz(rendered: "Rendered", origin: str, events: bytes) -> bytes:
    import numpy as np

    sec, fhr, uterus, spasms = rendered.chunk
    arrays: dict[str, Any] = {"sec": sec, "bpm": fhr, "uterus": uterus, "spasms": spasms}
    arrays |= rendered.truth._asdict()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays, simulated=origin, events_jsonl=events.decode())
    return buffer.getvalue()


def truth_lines(sensor: "Sensor", about: dict[str, Any], faults: "Sequence[Event]" = ()) -> bytes:
    """Return the truth up to the sensor's position as JSON lines: a header, then one event each.

    *faults* are what happened to the samples on their way.
    """
    import msgspec

    events = sorted((*sensor.events(), *faults), key=lambda event: event.onset_s)
    header = {"simulated": True, "note": TRUTH_NOTE, **about}
    lines = [json.dumps(header).encode(), *map(msgspec.json.encode, events)]
    return b"\n".join(lines) + b"\n"


def write_sensor(sensor: "Sensor", out: Path, truth: Path | None, about: dict[str, Any]) -> int:
    """Write one sensor's samples, and its truth; return how many events happened."""
    rendered = sensor.render(0, sensor.n_samples or 0)
    sensor.seek(sensor.n_samples or 0)
    lines = truth_lines(sensor, about)
    origin = (
        f"simulated by ctgkit {__version__}, scenario {about['scenario']}, seed {about['seed']}, "
        f"sensor {about['sensor']}: not a patient"
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


@click.command(
    epilog="Example: ctgkit generate --scenario intrapartum-cohort --sensors 60 --out sim/s.csv.gz"
)
@common_options
@click.option("--scenario", default="normal-reactive", show_default=True, help="Name or TOML file.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other luck.")
@click.option(
    "--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds; default: scenario's."
)
@click.option("--sensors", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=4.0,
    show_default=True,
    help="Samples per second.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="FILE.csv[.gz], .npz, .jsonl[.gz], .hea, .edf or .parquet; of many sensors FILE-00.csv, …",
)
@click.option(
    "--truth", type=click.Path(path_type=Path, dir_okay=False), help="True events, JSON lines."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on stdout.")
def generate(
    scenario: str,
    seed: int,
    duration: float | None,
    sensors: int,
    rate: float,
    out: Path,
    truth: Path | None,
    as_json: bool,
) -> None:
    """Write a scenario's signal and truth to files.

    The samples of sensor i are those that ``ctgkit sensor`` sends with the same scenario and seed.
    """
    from ctgkit.recording.files.registry import format_of
    from ctgkit.simulate.library import load_scenario
    from ctgkit.simulate.sensor import Sensor

    try:
        writes = format_of(out).writes
    except RecordingError as error:
        raise click.BadParameter(str(error), param_hint="--out") from error
    if not writes:
        raise click.BadParameter(f"{out.name}: this format is only read", param_hint="--out")
    loaded = load_scenario(scenario)
    length_s = loaded.duration_s if duration is None else duration
    for index in range(sensors):
        sensor = Sensor(loaded, seed=seed, index=index, rate_hz=rate, duration_s=length_s)
        about = {
            "scenario": sensor.patient.scenario.id,
            "seed": seed,
            "sensor": index,
            "rate_hz": rate,
            "duration_s": length_s,
        }
        path = numbered(out, index, sensors)
        truth_path = numbered(truth, index, sensors) if truth else None
        events = write_sensor(sensor, path, truth_path, about)
        if as_json:
            click.echo(json.dumps({"file": str(path), "events": events, **about}))
        else:
            click.echo(path)
