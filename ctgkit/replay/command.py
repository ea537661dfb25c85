"""``ctgkit replay``."""

import contextlib
import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import click

from ctgkit.cli.credentials import sensors_for, viewer_token
from ctgkit.cli.options import (
    announce,
    argument,
    command,
    connect_timeout_option,
    json_option,
    option,
    ready_file_option,
    viewer_token_option,
)
from ctgkit.cli.types import PAUSE, SECONDS, Address, File, OutFile, Speed, Url, number, whole
from ctgkit.errors import RecordingError, printable

if TYPE_CHECKING:
    from ctgkit.recording.captures import AnyRecording
    from ctgkit.replay.expect import Difference, Verdict
    from ctgkit.replay.player import ReplaySettings, ReplaySummary

COMPARISON = "Comparison"
DIFFERENCES_SHOWN = 20
"""Differences that are printed one by one; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """Options of `ctgkit replay`."""

    file: Path = argument(type=File())
    url: str = option(
        "--url",
        type=Url("/ws/sensor"),
        default="ws://127.0.0.1:8080/ws/sensor",
        help="The backend's sensor endpoint.",
    )
    serve: tuple[str, int] | None = option(
        "--serve",
        type=Address(),
        help="Act as the backend instead: play the recorded viewer stream to any frontend.",
    )
    speed: float = option(
        "--speed",
        type=Speed(),
        default=1.0,
        help="Recorded seconds per second, or max: as fast as the other side takes it.",
    )
    loops: int = option(
        "--loop",
        type=whole("N", 0, 1_000_000),
        default=1,
        help="Number of times to play it; 0: until Ctrl-C.",
    )
    from_s: float = option(
        "--from",
        type=PAUSE,
        default=0.0,
        section="Interval",
        help="Begin S seconds after the recording began.",
    )
    to_s: float = option(
        "--to",
        type=SECONDS,
        default=math.inf,
        section="Interval",
        help="End S seconds after the recording began.",
    )
    expect: Path | None = option(
        "--expect",
        type=File(),
        section=COMPARISON,
        help="Compare the answers with those in this recording, usually the same one.",
    )
    tolerance: float = option(
        "--tolerance",
        type=number("X", 0, 1e9),
        default=0.0,
        show_default=True,
        section=COMPARISON,
        help="Absolute or relative tolerance for numbers.",
    )
    ignored: tuple[str, ...] = option(
        "--ignore",
        multiple=True,
        metavar="MEMBER",
        section=COMPARISON,
        help="A member of the answers that is not compared (repeatable); timestamp never is.",
    )
    viewer_url: str | None = option(
        "--viewer-url",
        type=Url("/ws"),
        section=COMPARISON,
        help="Where --expect reads the answers; default: /ws on the host of --url.",
    )
    viewer_token_file: Path | None = viewer_token_option(COMPARISON)
    out: Path | None = option(
        "--out",
        type=OutFile(),
        section=COMPARISON,
        help="With --expect: keep a recording of the replay and its answers.",
    )
    connect_timeout: float = connect_timeout_option()
    renumber: bool = option(
        "--renumber",
        is_flag=True,
        section="Connection",
        help="Give samples new sequence numbers: for a backend that has this recording already.",
    )
    skip_bad: bool = option(
        "--skip-bad", is_flag=True, help="Skip lines that cannot be read, and count them."
    )
    max_mb: int | None = option(
        "--max-mb",
        type=whole("N", 1, 1 << 20),
        help="Largest size that FILE may unpack to, MiB; default: a hundred times its size.",
    )

    @property
    def max_bytes(self) -> int | None:
        """The limit in bytes; None for the default."""
        return self.max_mb << 20 if self.max_mb else None

    allow_rejected: bool = option(
        "--allow-rejected",
        is_flag=True,
        help="Exit with 0 although the backend rejected messages.",
    )
    ready_file: Path | None = ready_file_option("Write the address of --serve to FILE.")
    as_json: bool = json_option("Print the summary as JSON.")


@command(ReplayOptions, example="ctgkit replay run.jsonl --speed 10 --expect run.jsonl")
def replay(options: ReplayOptions) -> int:
    """Play a recording: as its sensors against a backend, or as a backend to a frontend.

    Messages go out as recorded, byte for byte, malformed ones too, with the recorded intervals. The
    sensors' tokens come from the configuration, as for `ctgkit sensor`; a recorded sensor that the
    configuration doesn't know is played by the next one that it does. Exit code 1 when nothing was
    played, more messages were rejected than the recording has rejections, or --expect found
    differences.
    """
    if options.from_s >= options.to_s:
        raise click.UsageError("--from must be before --to")
    if options.out is not None and options.expect is None:
        raise click.UsageError("--out goes with --expect")
    if options.expect is not None and (
        options.loops != 1 or options.from_s > 0 or options.to_s < math.inf
    ):
        raise click.UsageError("--expect needs the whole recording, once: no --from, --to, --loop")
    from ctgkit.net import eventloop
    from ctgkit.recording.captures import open_recording
    from ctgkit.recording.files.registry import format_of

    file, as_json = options.file, options.as_json
    if file.exists() and format_of(file).module != "native":
        raise RecordingError(
            str(file), 0, "not in the native format: `ctgkit convert` makes it so, `ctgkit sensor"
            " --from` plays any format"
        )  # fmt: skip
    journal = open_recording(file, skip_bad=options.skip_bad, max_bytes=options.max_bytes)
    if options.serve is not None:
        return eventloop.run(_serve(journal, options.serve, options))
    from ctgkit.replay.player import ReplaySettings

    settings = ReplaySettings(
        url=options.url,
        credentials=sensors_for(None, None, hint="another --config"),
        speed=options.speed,
        loops=options.loops,
        from_s=options.from_s,
        to_s=options.to_s,
        renumber=options.renumber,
        connect_timeout_s=options.connect_timeout,
    )
    if options.expect is not None:
        return _replay_and_compare(journal, settings, options, options.expect)
    summary = eventloop.run(_replay(journal, settings))
    click.echo(json.dumps(_as_dict(summary)) if as_json else _as_text(summary))
    return 0 if summary.sent and not _are_refused(summary, options.allow_rejected) else 1


def _are_refused(summary: "ReplaySummary", allowed: bool) -> bool:
    """Tell, and say why, that the backend rejected more than the recorded one did."""
    if allowed or summary.rejected <= summary.recorded_rejected:
        return False
    reasons = "; ".join(f"{n} x {reason}" for reason, n in summary.reject_reasons.items())
    click.echo(
        f"ctgkit: {summary.rejected} of {summary.sent} messages rejected, recorded"
        f" {summary.recorded_rejected}: {printable(reasons)} (--allow-rejected takes that for"
        " success)",
        err=True,
    )
    return True


async def _replay(journal: "AnyRecording", settings: "ReplaySettings") -> "ReplaySummary":
    from ctgkit.net.eventloop import stop_on_signals
    from ctgkit.replay.player import Player

    return await Player(journal, settings, None).run(stop_on_signals())


def _replay_and_compare(
    journal: "AnyRecording", settings: "ReplaySettings", options: ReplayOptions, expect: Path
) -> int:
    from ctgkit.net import eventloop
    from ctgkit.net.addresses import websocket_url
    from ctgkit.recording.captures import open_recording
    from ctgkit.replay.comparison import Expectation, judge, place_for, rehearse
    from ctgkit.replay.expect import Verdict

    host = urlunsplit(urlsplit(settings.url)._replace(path="", query=""))
    expectation = Expectation(
        journal=open_recording(expect, skip_bad=journal.skip_bad, max_bytes=options.max_bytes),
        stream_url=options.viewer_url or websocket_url(host, "/ws"),
        viewer_token=viewer_token(options.viewer_token_file),
        tolerance=options.tolerance,
        ignored=options.ignored,
    )

    async def run(out: Path) -> "ReplaySummary":
        from ctgkit.net.eventloop import stop_on_signals

        stop = stop_on_signals()
        return await rehearse(journal, settings, stop, out=out, expectation=expectation)

    verdict = Verdict()
    shown: list[Difference] = []
    with place_for(options.out) as out:
        summary = eventloop.run(run(out))
        for difference in judge(expectation, out, summary, verdict):
            if len(shown) < DIFFERENCES_SHOWN:
                shown.append(difference)
    ok = verdict.ok and not summary.other_closes
    if options.as_json:
        result = {"ok": ok, **dataclasses.asdict(verdict)}
        result["differences"] = [difference._asdict() for difference in shown]
        click.echo(json.dumps(_as_dict(summary) | {"expect": result}))
    else:
        click.echo(_as_text(summary))
        click.echo(_verdict_as_text(verdict, shown, ok))
    return 0 if ok else 1


def _verdict_as_text(verdict: "Verdict", shown: "list[Difference]", ok: bool) -> str:
    lines = [f"  {difference}" for difference in shown]
    total = verdict.by_member.total() + verdict.missing + verdict.unexpected
    if total > len(shown):
        members = ", ".join(f"{n} x {member}" for member, n in verdict.by_member.most_common())
        lines.append(f"  … and {total - len(shown)} more differences; in all {members or 'none'}")
    lines.append(
        f"{verdict.compared} answers compared: {verdict.different} differ,"
        f" {verdict.missing} missing, {verdict.unexpected} unexpected"
    )
    lines.append("as expected" if ok else "NOT AS EXPECTED")
    return "\n".join(lines)


async def _serve(
    journal: "AnyRecording",
    address: tuple[str, int],
    options: ReplayOptions,
) -> int:
    from ctgkit.net.eventloop import stop_on_signals
    from ctgkit.recording.journal import viewer_stream
    from ctgkit.replay.backend import Stage

    if next(viewer_stream(journal), None) is None:
        raise RecordingError(str(journal.path), 0, "no viewer stream in it")
    stage, passes, stop = Stage(options.speed), 0, stop_on_signals()
    async with stage.serve(*address) as url:
        announce(url, as_json=options.as_json, ready_file=options.ready_file)
        while not stop.is_set() and passes != (options.loops or -1):
            before = stage.counts.results
            part = (
                line for line in viewer_stream(journal) if options.from_s <= line.t_s < options.to_s
            )
            with contextlib.closing(part):
                await stage.play(part, stop)
            if stage.counts.results == before:
                break
            passes += 1
    counts = stage.counts
    summary = {
        "results": counts.results,
        "viewers": counts.viewers,
        "too_slow": counts.too_slow,
        "skipped_lines": journal.bad,
    }
    text = f"{counts.results} results played to {counts.viewers} viewers"
    click.echo(json.dumps(summary) if options.as_json else text)
    return 0 if counts.results else 1


def _as_dict(summary: "ReplaySummary") -> dict[str, Any]:
    import msgspec

    built: dict[str, Any] = msgspec.to_builtins(summary)
    return built


def _as_text(s: "ReplaySummary") -> str:
    lines = [
        f"sent {s.sent} messages: {s.acked} acked, {s.rejected} rejected, {s.unacked} outstanding,"
        f" {s.discarded} discarded; {s.resent} sent again, {s.reconnects} reconnects",
        f"{s.sensors} sensors, {s.connections} connections; {s.recorded_s:.1f} s of recording in"
        f" {s.duration_s:.1f} s",
    ]
    if s.lag_ms is not None:
        lag = s.lag_ms
        lines[1] += f"; lag p50 {lag.p50:.1f}, p99 {lag.p99:.1f}, max {lag.max:.1f} ms"
    lines += [f"otherwise than recorded: {text}" for text in s.other_closes]
    if s.skipped_lines:
        lines.append(f"{s.skipped_lines} lines could not be read")
    return "\n".join(lines)
