"""``ctgkit replay``."""

import contextlib
import dataclasses
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import click

from ctgkit.cli.options import (
    Address,
    Speed,
    announce,
    common_options,
    known_sensors,
    viewer_token,
    websocket_option,
)
from ctgkit.errors import RecordingError, printable

if TYPE_CHECKING:
    from ctgkit.recording.captures import AnyRecording
    from ctgkit.replay.expect import Difference, Verdict
    from ctgkit.replay.groups import Group
    from ctgkit.replay.player import ReplaySettings, ReplaySummary

log = logging.getLogger(__name__)
DEFAULT_BACKEND = "http://127.0.0.1:8080"
DIFFERENCES_SHOWN = 20
"""Differences of which JSON has every detail; the rest is in the groups."""
GROUPS_SHOWN = 30


class OfMember(click.ParamType[tuple[str, float]]):
    """``MEMBER=X``, a number of at least 0 for one member."""

    name = "MEMBER=X"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Return the member's name and its number."""
        if isinstance(value, tuple):
            return value
        member, _, number = str(value).partition("=")
        try:
            least = float(number)
        except ValueError:
            least = math.nan
        if not member or not least >= 0:
            self.fail(f"{value!r} is not MEMBER=X with a number of at least 0", param, ctx)
        return member, least


@click.command(epilog="Example: ctgkit replay run.jsonl --speed 10 --expect run.jsonl")
@common_options
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--url", default="ws://127.0.0.1:8080/ws/sensor", show_default=True, help="Sensor endpoint."
)
@click.option(
    "--serve",
    type=Address(),
    help="Be the backend instead: play the recorded viewer stream to any frontend.",
)
@click.option(
    "--speed",
    type=Speed(),
    default=1.0,
    show_default=True,
    help="Recorded seconds per second, or max: as fast as the other side takes it.",
)
@click.option(
    "--loop",
    "loops",
    type=click.IntRange(0),
    help="How often it is played; 0: until Ctrl-C. Default 1; with --serve it then stays up until"
    " Ctrl-C.",
)
@click.option("--from", "from_s", type=click.FloatRange(0), default=0.0, metavar="S")
@click.option(
    "--to",
    "to_s",
    type=click.FloatRange(0, min_open=True),
    default=math.inf,
    metavar="S",
    help="Play only from S to S, seconds since the recording began.",
)
@click.option(
    "--renumber/--no-renumber",
    default=None,
    help="Give samples new sequence numbers: a backend acknowledges those that it has already, and"
    " answers nothing.  [default: with --expect]",
)
@click.option(
    "--expect",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Compare the answers with those in this recording (the same one will do).",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Numbers may differ by so much, absolutely or relative to the expected one.",
)
@click.option(
    "--tolerance-of",
    "tolerances",
    type=OfMember(),
    multiple=True,
    help="The same for one member, at any depth: hypoxia_probability=0.05 (repeatable).",
)
@click.option(
    "--ignore",
    "ignored",
    multiple=True,
    metavar="MEMBER",
    help="A member of the answers that doesn't count (repeatable); timestamp never does.",
)
@click.option(
    "--viewer-url", help="Where --expect reads the answers; default: /ws on the host of --url."
)
@click.option(
    "--viewer-token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Viewer token for --expect; default from ctgkit.toml.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --expect: keep a recording of the replay and its answers.",
)
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --expect: write JUnit XML, a case per kind of difference.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --expect: write the differences as one HTML page.",
)
@click.option("--skip-bad", is_flag=True, help="Go on after lines that cannot be read; count them.")
@click.option(
    "--allow-rejected", is_flag=True, help="Exit with 0 although the backend rejected messages."
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Give up when nothing listens for S seconds. A lost connection is redialled for ever.",
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Gets the address of --serve.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def replay(
    file: Path,
    serve: tuple[str, int] | None,
    as_json: bool,
    ready_file: Path | None,
    skip_bad: bool,
    **options: Any,
) -> int:
    """Play a recording: as its sensors against a backend, or as a backend to a frontend.

    Messages go out as recorded, byte for byte, malformed ones too, with the recorded intervals. The
    sensors' tokens come from the configuration, as for `ctgkit sensor`; a recorded sensor that the
    configuration doesn't know is played by the next one that it does. Exit code 1 when nothing was
    played, more messages were rejected than the recording has rejections, or --expect found
    differences.
    """
    if options["from_s"] >= options["to_s"]:
        raise click.UsageError("--from must be before --to")
    for name in ("out", "junit", "html"):
        if options[name] is not None and options["expect"] is None:
            raise click.UsageError(f"--{name} goes with --expect")
    if options["expect"] is not None and (
        options["loops"] not in (None, 1) or options["from_s"] > 0 or options["to_s"] < math.inf
    ):
        raise click.UsageError("--expect needs the whole recording, once: no --from, --to, --loop")
    from ctgkit.net import eventloop
    from ctgkit.recording.captures import open_recording
    from ctgkit.recording.files.registry import format_of

    if file.exists() and format_of(file).module != "native":
        raise RecordingError(
            str(file), 0, "not in the native format: `ctgkit convert` makes it so, `ctgkit sensor"
            " --from` plays any format"
        )  # fmt: skip
    journal = open_recording(file, skip_bad=skip_bad)
    if serve is not None:
        return eventloop.run(_serve(journal, serve, options, as_json, ready_file))
    from ctgkit.replay.player import ReplaySettings

    known = known_sensors()
    if not known:
        raise click.UsageError(
            "no credentials: start `ctgkit serve` on this machine first, or write a configuration"
            " with `ctgkit init`"
        )
    settings = ReplaySettings(
        url=websocket_option(options["url"], "/ws/sensor", "--url"),
        credentials=known,
        speed=options["speed"],
        loops=1 if options["loops"] is None else options["loops"],
        from_s=options["from_s"],
        to_s=options["to_s"],
        renumber=options["expect"] is not None
        if options["renumber"] is None
        else options["renumber"],
        connect_timeout_s=options["connect_timeout"],
    )
    if options["expect"] is not None:
        return _replay_and_compare(journal, settings, options, as_json)
    summary = eventloop.run(_replay(journal, settings))
    click.echo(json.dumps(_as_dict(summary)) if as_json else _as_text(summary))
    return 0 if summary.sent and not _are_refused(summary, options["allow_rejected"]) else 1


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
    journal: "AnyRecording",
    settings: "ReplaySettings",
    options: dict[str, Any],
    as_json: bool,
) -> int:
    from ctgkit.net import eventloop
    from ctgkit.recording.captures import open_recording
    from ctgkit.replay.comparison import Expectation, judge, place_for, rehearse
    from ctgkit.replay.expect import Verdict
    from ctgkit.replay.groups import Grouping, html, junit

    host = urlunsplit(urlsplit(settings.url)._replace(path="", query=""))
    expectation = Expectation(
        journal=open_recording(options["expect"], skip_bad=journal.skip_bad),
        stream_url=websocket_option(options["viewer_url"] or host, "/ws", "--viewer-url"),
        viewer_token=viewer_token(options["viewer_token_file"]),
        tolerance=options["tolerance"],
        tolerances=dict(options["tolerances"]),
        ignored=options["ignored"],
    )

    async def run(out: Path) -> "ReplaySummary":
        from ctgkit.net.eventloop import stop_on_signals

        stop = stop_on_signals()
        return await rehearse(journal, settings, stop, out=out, expectation=expectation)

    verdict, grouping = Verdict(), Grouping()
    shown: list[Difference] = []
    with place_for(options["out"]) as out:
        summary = eventloop.run(run(out))
        for difference in judge(expectation, out, summary, verdict):
            grouping.add(difference)
            if len(shown) < DIFFERENCES_SHOWN:
                shown.append(difference)
    ok, groups, name = verdict.ok and not summary.other_closes, grouping.groups(), journal.path.name
    if options["junit"]:
        options["junit"].write_bytes(junit(name, groups, verdict, ok))
    if options["html"]:
        options["html"].write_text(html(name, groups, verdict, ok), encoding="utf-8")
    stored_before = not settings.renumber and not verdict.compared and bool(summary.acked)
    if as_json:
        result = {"ok": ok, **dataclasses.asdict(verdict)}
        result["groups"] = [group.as_dict() for group in groups]
        result["differences"] = [difference._asdict() for difference in shown]
        click.echo(json.dumps(_as_dict(summary) | {"expect": result}))
    else:
        click.echo(_as_text(summary))
        click.echo(_verdict_as_text(verdict, groups, ok))
    if stored_before:
        click.echo(
            "all was acknowledged and nothing answered: this backend has these numbers already;"
            " --renumber gives new ones", err=True,
        )  # fmt: skip
    return 0 if ok else 1


def _verdict_as_text(verdict: "Verdict", groups: "Sequence[Group]", ok: bool) -> str:
    lines = [f"  {group}" for group in groups[:GROUPS_SHOWN]]
    if len(groups) > GROUPS_SHOWN:
        rest = groups[GROUPS_SHOWN:]
        lines.append(
            f"  … and {len(rest)} more kinds of differences, {sum(g.count for g in rest):,}"
        )
    lines.append(
        f"{verdict.compared} answers compared: {verdict.different} differ,"
        f" {verdict.missing} missing, {verdict.unexpected} unexpected"
    )
    lines.append("as expected" if ok else "NOT AS EXPECTED")
    return "\n".join(lines)


async def _serve(
    journal: "AnyRecording",
    address: tuple[str, int],
    options: dict[str, Any],
    as_json: bool,
    ready_file: Path | None,
) -> int:
    from ctgkit.net.eventloop import stop_on_signals
    from ctgkit.recording.journal import viewer_stream
    from ctgkit.replay.backend import Stage

    if next(viewer_stream(journal), None) is None:
        raise RecordingError(str(journal.path), 0, "no viewer stream in it")
    stage, passes, stop = Stage(options["speed"]), 0, stop_on_signals()
    async with stage.serve(*address) as url:
        announce(url, as_json=as_json, ready_file=ready_file)
        log.info("the live page is at %s/, the viewer stream at /ws", url)
        loops = 1 if options["loops"] is None else options["loops"] or -1
        while not stop.is_set() and passes != loops:
            before = stage.counts.results
            part = (
                line
                for line in viewer_stream(journal)
                if options["from_s"] <= line.t_s < options["to_s"]
            )
            with contextlib.closing(part):
                await stage.play(part, stop)
            if stage.counts.results == before:
                break
            passes += 1
        if options["loops"] is None and not stop.is_set():
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
    click.echo(json.dumps(summary) if as_json else text)
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
