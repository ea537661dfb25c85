"""The curve of a benchmark as PNG or SVG."""

from pathlib import Path

from ctgkit.bench.knee import best_attempts
from ctgkit.bench.report import DISCLAIMER, Findings, conclusion
from ctgkit.drawing import load_matplotlib, plain_style

CURVES = (("p99.9", "p999_ms", ":"), ("p99", "p99_ms", "-"), ("p50", "p50_ms", "--"))
TICKS_APART = 1.25
"""Least ratio of two levels that both get their number on the axis."""


def draw(findings: Findings, path: Path) -> None:
    """Draw latency over the number of sensors, with the bound and what the figures belong to."""
    load_matplotlib("--plot")
    with plain_style():
        _draw(findings, path)


def _draw(findings: Findings, path: Path) -> None:
    from matplotlib.figure import Figure

    seen = [j.level for j in best_attempts(findings.levels) if j.level.p99_ms is not None]
    sensors = [level.sensors for level in seen]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for label, name, style in CURVES:
        axes.plot(sensors, [getattr(level, name) for level in seen], style, marker=".", label=label)
    axes.axhline(findings.max_p99_ms, color="#b00020", linewidth=1, label="bound of p99")
    if findings.knee and findings.knee.sensors:
        axes.axvline(findings.knee.sensors, color="#888888", linewidth=1, label="knee")
    axes.set(xscale="log", yscale="log", xlabel="sensors", ylabel="latency from due time, ms")
    ticks: list[int] = []
    for number in sensors:
        if not ticks or number >= TICKS_APART * ticks[-1]:
            ticks.append(number)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(conclusion(findings).partition("; ")[0], fontsize=9)
    about = f"{findings.target}, window {findings.settings['window_s']:g} s; {DISCLAIMER}"
    figure.supxlabel(f"{findings.machine}\n{about}", fontsize=7)
    figure.savefig(path, dpi=120)
