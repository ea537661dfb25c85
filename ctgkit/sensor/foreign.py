"""``ctgkit sensor --profile``: sensors of a foreign wire."""

import logging
import signal
import sys
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ctgkit.errors import Unreachable, printable
from ctgkit.samples import RATE_HZ

if TYPE_CHECKING:
    from ctgkit.profile.client import ProfileSettings, Summary
    from ctgkit.sensor.command import SensorOptions

log = logging.getLogger(__name__)

NAMESPACE = uuid.UUID("6a1f54a2-9f4f-4c0e-8d6c-3b0d1b6a7f10")
"""Of generated ids: a sensor keeps its id from run to run, as devices do. Chosen at random."""


def sensor_ids(sensor_id: str | None, seed: int, count: int) -> list[str]:
    """Return an id for each sensor: the given one, or generated from seed and number."""
    if sensor_id is not None:
        return [sensor_id]
    return [str(uuid.uuid5(NAMESPACE, f"{seed}/{number}")) for number in range(count)]


def play_profile(options: "SensorOptions", url: str | None) -> int:
    """Run sensors over a profile; return the exit code.

    Parameters
    ----------
    options : SensorOptions
        Of ``ctgkit sensor``.
    url : str or None
        What ``--url`` says on the command line.

    Raises
    ------
    click.UsageError
        For options that mean nothing on a foreign wire.
    Unreachable
        When a sensor gave up.
    """
    from ctgkit.net import eventloop
    from ctgkit.profile.client import ProfileSettings, summary_json, summary_text
    from ctgkit.profile.library import load_profile, read_secrets
    from ctgkit.simulate.repertoire import Repertoire

    assert options.profile is not None
    _refuse_foreign(options)
    renderer = load_profile(options.profile, url)
    if options.stdout and (renderer.profile.files or renderer.profile.setup):
        raise click.UsageError("--stdout: a profile with an upload or setup requests has no lines")
    ids = sensor_ids(options.sensor_id, options.chosen_seed, options.count)
    rate_hz = options.rate or renderer.profile.rate_hz or RATE_HZ
    reading = options.reading(rate_hz=options.rate if options.recording else None)
    repertoire = Repertoire(
        options.scenario, options.recording, options.chosen_seed, rate_hz, (), reading, len(ids),
        renderer.names_second,
    )  # fmt: skip
    if renderer.names_second and (alone := repertoire.without_twins()):
        log.warning("{fhr2} is a gap: there is no second fetus in %s", ", ".join(alone))
    settings = ProfileSettings(
        renderer=renderer,
        sensor_ids=ids,
        make_source=repertoire.source,
        secrets=read_secrets(renderer.profile, renderer.where),
        start_epoch_s=datetime.now(UTC).timestamp(),
        speed=options.speed,
        duration_s=options.duration,
        connect_timeout_s=options.connect_timeout,
        write=_write_line if options.stdout else None,
    )
    summary, ended_by = eventloop.run(_run(settings))
    if any(sensor.patient.scenario.faults for sensor in repertoire.sensors.values()):
        log.warning("the scenario's own faults were not applied: a profile has none")
    if options.truth is not None:
        repertoire.write_truth(options.truth, ids)
    told = summary_json(summary) if options.as_json else summary_text(summary, renderer.where)
    click.echo(told, err=options.stdout)
    return _exit_code(summary, ended_by, options.allow_rejected)


def _exit_code(summary: "Summary", ended_by: signal.Signals | None, allow_rejected: bool) -> int:
    if summary.failures:
        raise Unreachable("sensors gave up", "; ".join(summary.failures))
    if ended_by is signal.SIGINT:
        return 130
    if summary.rejected and not allow_rejected:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in summary.rejected.items())
        click.echo(f"ctgkit: refused: {printable(reasons)} (--allow-rejected takes that for"
                   " success)", err=True)  # fmt: skip
        return 1
    return 0 if summary.messages else 1


def _refuse_foreign(options: "SensorOptions") -> None:
    """Refuse the options that mean something under ``ctgkit.v1`` only."""
    given = {
        "--fault": options.fault,
        "--control": options.control,
        "--ramp": options.ramp,
        "--token-file": options.token_file,
        "--mother": options.mother,
    }
    for name, value in given.items():
        if value:
            raise click.UsageError(f"{name} cannot be combined with --profile")
    if options.sensor_id is not None and options.count > 1:
        raise click.UsageError("--sensor-id names one sensor; --sensors of a profile get ids")


def _write_line(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


async def _run(settings: "ProfileSettings") -> "tuple[Summary, signal.Signals | None]":
    """Send until the end, or until a signal, which is returned."""
    from ctgkit.net.eventloop import Interruption
    from ctgkit.profile.client import run_profile

    with Interruption(settings.stop.set) as interruption:
        return await run_profile(settings), interruption.signal
