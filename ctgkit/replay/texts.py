"""What `ctgkit replay` did, in lines for people."""

from collections.abc import Sequence

from ctgkit.replay.expect import Verdict
from ctgkit.replay.groups import Group
from ctgkit.replay.player import ReplaySummary

GROUPS_SHOWN = 30


def summary_as_text(s: ReplaySummary) -> str:
    """Say what was sent, and what became of it."""
    lines = [
        f"sent {s.sent} messages: {s.acked} acked, {s.rejected} rejected, {s.unacked} outstanding,"
        f" {s.discarded} discarded; {s.resent} sent again, {s.reconnects} reconnects",
        f"{s.sensors} sensors, {s.connections} connections; {s.recorded_s:.1f} s of recording in"
        f" {s.duration_s:.1f} s",
    ]
    if s.unconfirmed:
        lines[0] += f"; {s.unconfirmed} sent without acknowledgements: --expect shows whether they"
        lines[0] += " were taken"
    if s.lag_ms is not None:
        lag = s.lag_ms
        lines[1] += f"; lag p50 {lag.p50:.1f}, p99 {lag.p99:.1f}, max {lag.max:.1f} ms"
    lines += [f"otherwise than recorded: {text}" for text in s.other_closes]
    if s.skipped_lines:
        lines.append(f"{s.skipped_lines} lines could not be read")
    return "\n".join(lines)


def verdict_as_text(verdict: Verdict, groups: Sequence[Group], ok: bool) -> str:
    """Say what --expect found."""
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
