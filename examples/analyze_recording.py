"""Analyse a recording and draw it: signal, baseline, events and class over time.

What you will see: a summary, and where the SVG picture is. Give a CSV recording (sec, bpm,
uterus; gzipped or not) and a name for the picture, or nothing: then a simulated labour is analysed
and drawn into the current folder.
"""

import sys
from pathlib import Path

from ctgkit.analysis import analyze
from ctgkit.recording.files.csv import read_csv
from ctgkit.simulate import library, sensor

COLOURS = {
    "acceleration": "#7c7", "deceleration": "#e88", "contraction": "#99d",
    "normal": "#2a2", "suspicious": "#e90", "pathological": "#d22", "indeterminate": "#999",
}  # fmt: skip


def y_bpm(bpm):
    return 320 - (bpm - 50) * 1.7


def polyline(xs, ys, colour):
    """Return lines that break where there is no signal."""
    runs, run = [], []
    for x, y in [*zip(xs, ys, strict=True), (0, float("nan"))]:
        if y == y:
            run.append(f"{x:.1f},{y:.1f}")
        elif run:
            runs.append(" ".join(run))
            run = []
    return "".join(f'<polyline points="{r}" fill="none" stroke="{colour}"/>' for r in runs)


def picture(recording, report):
    """Return the SVG text; one pixel is one second."""
    seconds = recording.sec_from_start
    parts = ['<rect width="100%" height="100%" fill="#fff"/>']
    for event in report.events:
        top, tall = (500, 12) if event.kind == "contraction" else (30, 300)
        parts.append(
            f'<rect x="{event.onset_s}" y="{top}" width="{event.duration_s}" height="{tall}" '
            f'fill="{COLOURS[event.kind]}" opacity=".45"><title>{event.id} {event.subtype}'
            "</title></rect>"
        )
    for one in report.analyses:
        colour = COLOURS[one.figo.level]
        parts.append(f'<rect x="{one.at_s - 30}" y="8" width="30" height="10" fill="{colour}"/>')
    known = [m for m in report.minutes if m.baseline_bpm is not None]
    parts += [
        polyline(seconds, y_bpm(recording.fhr_bpm), "#000"),
        polyline(seconds, 490 - 1.2 * recording.uterus, "#33a"),
        polyline([m.start_s + 30 for m in known], [y_bpm(m.baseline_bpm) for m in known], "#f80"),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{seconds[-1]:.0f}" height="520">'
        f"<title>Analysis by a test tool, not a medical device</title>{''.join(parts)}</svg>\n"
    )


def main():
    if len(sys.argv) > 1:
        recording = read_csv(Path(sys.argv[1]))
    else:
        recording = sensor.Sensor(library.load_scenario("late-decels-mild"), seed=1).read(60 * 240)
    report = analyze(recording)
    last = report.analyses[-1]
    late = sum(event.subtype == "late" for event in report.events)
    print(f"{len(report.events)} events, {late} late decelerations; FIGO: {last.figo.level}")
    print(f"probability {last.prediction.hypoxia_probability:.2f};", *last.prediction.alerts)
    target = Path(sys.argv[2] if len(sys.argv) > 2 else "analysis.svg")
    target.write_text(picture(recording, report), encoding="utf-8")
    print(f"drawn: {target}")


if __name__ == "__main__":
    main()
