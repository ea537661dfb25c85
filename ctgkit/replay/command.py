"""``ctgkit replay``."""

import contextlib
import dataclasses
import json
import logging
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
from ctgkit.cli.types import (
    PAUSE,
    SECONDS,
    Address,
    File,
    OutFile,
    Refined,
    Speed,
    Url,
    number,
    whole,
)
from ctgkit.errors import RecordingError, printable

if TYPE_CHECKING:
    from ctgkit.recording.captures import AnyRecording
    from ctgkit.replay.expect import Difference
    from ctgkit.replay.player import ReplaySettings, ReplaySummary

log = logging.getLogger(__name__)
COMPARISON = "Comparison"
DIFFERENCES_SHOWN = 20
"""Differences of which JSON has every detail; the rest is in the groups."""


def _of_member(text: str) -> tuple[str, float]:
    """Return the member and the number in ``MEMBER=X``."""
    member, _, number_ = text.partition("=")
    try:
        least = float(number_)
    except ValueError:
        least = math.nan
    if not member or not 0 <= least < math.inf:
        raise ValueError(f"{text!r} is not MEMBER=X with a number of at least 0")
    return member, least


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
        help="Recorded seconds per second, or max: as fast as the other side accepts it.",
    )
    loops: int | None = option(
        "--loop",
        type=whole("N", 0, 1_000_000),
        help="Number of times to play it; 0: until Ctrl-C. Default: 1; --serve keeps running"
        " afterwards.",
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
    tolerances: tuple[tuple[str, float], ...] = option(
        "--tolerance-of",
        type=Refined("MEMBER=X", _of_member),
        multiple=True,
        section=COMPARISON,
        help="Tolerance of one member, at any depth (repeatable).",
    )
    ignored: tuple[str, ...] = option(
        "--ignore",
        multiple=True,
        metavar="MEMBER",
        section=COMPARISON,
        help="Member of the answers that is not compared (repeatable); timestamp is always"
        " ignored.",
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
        help="With --expect: save a recording of the replay and its answers.",
    )
    junit: Path | None = option(
        "--junit",
        type=OutFile(holds="JUnit XML", suffixes=(".xml",)),
        section=COMPARISON,
        help="With --expect: write JUnit XML, one test case per kind of difference.",
    )
    html: Path | None = option(
        "--html",
        type=OutFile(holds="HTML", suffixes=(".html",)),
        section=COMPARISON,
        help="With --expect: write the differences to an HTML page.",
    )
    connect_timeout: float = connect_timeout_option()
    renumber: bool | None = option(
        "--renumber/--no-renumber",
        default=None,
        section="Connection",
        help="Give samples new sequence numbers, for a backend that already has this recording;"
        " default with --expect.",
    )
    skip_bad: bool = option(
        "--skip-bad", is_flag=True, help="Skip lines that cannot be read and count them."
    )
    max_mb: int | None = option(
        "--max-mb",
        type=whole("N", 1, 1 << 20),
        help="Largest size that FILE may decompress to, MiB; default: a hundred times its size.",
    )

    @property
    def max_bytes(self) -> int | None:
        """The limit in bytes; None for the default."""
        return self.max_mb << 20 if self.max_mb else None

    allow_rejected: bool = option(
        "--allow-rejected",
        is_flag=True,
        help="Exit with 0 even if the backend rejected messages.",
    )
    ready_file: Path | None = ready_file_option("Write the address of --serve to FILE.")
    as_json: bool = json_option("Print the summary as JSON.")


@command(ReplayOptions, example="ctgkit replay run.jsonl --speed 10 --expect run.jsonl")
def replay(options: ReplayOptions) -> int:
    """Play a recording, as its sensors to a backend or as the backend to a frontend.

    Messages, malformed ones included, are sent byte for byte as recorded, at the recorded
    intervals. The sensors' tokens come from the configuration, as for `ctgkit sensor`; a recorded
    sensor that is not in the configuration is replaced by the next one that is. Exit code 1 if
    nothing was played, if more messages were rejected than in the recording, if a backend with
    ctgkit.v1 left messages unacknowledged, or if --expect found differences.
    """
    if options.from_s >= options.to_s:
        raise click.UsageError("--from must be before --to")
    for name in ("out", "junit", "html"):
        if getattr(options, name) is not None and options.expect is None:
            raise click.UsageError(f"--{name} goes with --expect")
    if options.expect is not None and (
        options.loops not in (None, 1) or options.from_s > 0 or options.to_s < math.inf
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
    from ctgkit.replay.texts import summary_as_text

    settings = ReplaySettings(
        url=options.url,
        credentials=sensors_for(None, None, hint="another --config"),
        speed=options.speed,
        loops=1 if options.loops is None else options.loops,
        from_s=options.from_s,
        to_s=options.to_s,
        renumber=options.expect is not None if options.renumber is None else options.renumber,
        connect_timeout_s=options.connect_timeout,
    )
    if options.expect is not None:
        return _replay_and_compare(journal, settings, options, options.expect)
    summary = eventloop.run(_replay(journal, settings))
    click.echo(json.dumps(_as_dict(summary)) if as_json else summary_as_text(summary))
    refused = _are_refused(summary, options.allow_rejected)
    return 0 if summary.sent and not refused and not _are_owed(summary) else 1


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


def _are_owed(summary: "ReplaySummary") -> bool:
    """Tell, and say so, that the backend promised acknowledgements and left some out."""
    if summary.overdue:
        from ctgkit.replay.client import ACKS_TIMEOUT_S

        click.echo(
            f"ctgkit: {summary.overdue} of {summary.sent} messages were not acknowledged in"
            f" {ACKS_TIMEOUT_S:g} s, although the backend chose ctgkit.v1 (PROTOCOL S-6.3)",
            err=True,
        )
    return bool(summary.overdue)


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
    from ctgkit.replay.groups import Grouping, html, junit
    from ctgkit.replay.texts import summary_as_text, verdict_as_text

    host = urlunsplit(urlsplit(settings.url)._replace(path="", query=""))
    expectation = Expectation(
        journal=open_recording(expect, skip_bad=journal.skip_bad, max_bytes=options.max_bytes),
        stream_url=options.viewer_url or websocket_url(host, "/ws"),
        viewer_token=viewer_token(options.viewer_token_file),
        tolerance=options.tolerance,
        tolerances=dict(options.tolerances),
        ignored=options.ignored,
    )

    async def run(out: Path) -> "ReplaySummary":
        from ctgkit.net.eventloop import stop_on_signals

        stop = stop_on_signals()
        return await rehearse(journal, settings, stop, out=out, expectation=expectation)

    verdict, grouping = Verdict(), Grouping()
    shown: list[Difference] = []
    with place_for(options.out) as out:
        summary = eventloop.run(run(out))
        for difference in judge(expectation, out, summary, verdict):
            grouping.add(difference)
            if len(shown) < DIFFERENCES_SHOWN:
                shown.append(difference)
    ok, groups, name = verdict.ok and not summary.other_closes, grouping.groups(), journal.path.name
    if options.junit:
        options.junit.write_bytes(junit(name, groups, verdict, ok))
    if options.html:
        options.html.write_text(html(name, groups, verdict, ok), encoding="utf-8")
    stored_before = not settings.renumber and not verdict.compared and bool(summary.acked)
    if options.as_json:
        result = {"ok": ok, **dataclasses.asdict(verdict)}
        result["groups"] = [group.as_dict() for group in groups]
        result["differences"] = [difference._asdict() for difference in shown]
        click.echo(json.dumps(_as_dict(summary) | {"expect": result}))
    else:
        click.echo(summary_as_text(summary))
        click.echo(verdict_as_text(verdict, groups, ok))
    if stored_before:
        click.echo(
            "all was acknowledged and nothing answered: this backend has these numbers already;"
            " --renumber gives new ones", err=True,
        )  # fmt: skip
    return 0 if ok else 1


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
        log.info("the live page is at %s/, the viewer stream at /ws", url)
        loops = 1 if options.loops is None else options.loops or -1
        while not stop.is_set() and passes != loops:
            before = stage.counts.results
            part = (
                line for line in viewer_stream(journal) if options.from_s <= line.t_s < options.to_s
            )
            with contextlib.closing(part):
                await stage.play(part, stop)
            if stage.counts.results == before:
                break
            passes += 1
        if options.loops is None and not stop.is_set():
            log.info("played to the end; Ctrl-C ends it, --loop N ends after N times")
            await stop.wait()
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
