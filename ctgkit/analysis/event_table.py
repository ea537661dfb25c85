"""Events as a table, to read or as CSV. Pure."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from ctgkit.display import clock

COLUMNS = (
    "recording", "event", "type", "start_s", "end_s", "duration_s", "peak_s", "size", "named_at_s",
)  # fmt: skip
"""Of the CSV file. ``size`` is beats/min, of a contraction the unit of its channel."""


def rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row per event of a report; see :meth:`ctgkit.analysis.report.Report.as_dict`."""
    return [
        {
            "recording": report["recording"],
            "event": event["type"],
            "type": event.get("subtype", ""),
            "start_s": event["start_s"],
            "end_s": event["end_s"],
            "duration_s": round(event["end_s"] - event["start_s"], 3),
            "peak_s": event.get("peak_s"),
            "size": event.get("size"),
            "named_at_s": event["named_at_s"],
        }
        for event in report["events"]
    ]


def as_csv(reports: Iterable[Mapping[str, Any]]) -> str:
    """Return the events of several reports as CSV; what isn't known is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for report in reports:
        writer.writerows(rows(report))
    return text.getvalue()


def as_text(report: Mapping[str, Any]) -> str:
    """Return the events of a report as lines of columns."""
    shown = [("start", "length", "event", "size")]
    for row in rows(report):
        name = " ".join(filter(None, (row["type"].replace("_", " "), row["event"])))
        size = "" if row["size"] is None else f"{row['size']:.0f}"
        shown.append((clock(row["start_s"]), f"{row['duration_s']:.0f} s", name, size))
    widths = [max(len(line[n]) for line in shown) for n in range(4)]
    lines = [
        f"{a.rjust(widths[0])}  {b.rjust(widths[1])}  {c.ljust(widths[2])}  {d.rjust(widths[3])}"
        for a, b, c, d in shown
    ]
    return "\n".join(line.rstrip() for line in lines) if len(shown) > 1 else "no events"
