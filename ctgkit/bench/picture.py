"""The curve of a benchmark as PNG or SVG."""

from pathlib import Path

from matplotlib.figure import Figure

from ctgkit.bench.report import DISCLAIMER, Findings, conclusion


def draw(findings: Findings, path: Path) -> None:
    """Draw latency over the number of sensors, with the bound and what the figures belong to."""
    levels = sorted((j.level for j in findings.levels), key=lambda level: level.sensors)
    seen = [level for level in levels if level.p99_ms is not None]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, style in (("p999_ms", ":"), ("p99_ms", "-"), ("p50_ms", "--")):
        label = {"p999_ms": "p99.9", "p99_ms": "p99", "p50_ms": "p50"}[name]
        values = [getattr(level, name) for level in seen]
        axes.plot([level.sensors for level in seen], values, style, marker="o", label=label)
    axes.axhline(findings.max_p99_ms, color="#b00020", linewidth=1)
    axes.annotate("bound of p99", (0, findings.max_p99_ms), xycoords=("axes fraction", "data"))
    if findings.knee and findings.knee.sensors:
        axes.axvline(findings.knee.sensors, color="#888888", linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="sensors", ylabel="latency from due time, ms")
    axes.set_xticks([level.sensors for level in seen], minor=False)
    axes.set_xticklabels([str(level.sensors) for level in seen], rotation=45)
    axes.xaxis.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(conclusion(findings).partition("; ")[0], fontsize=9)
    settings = findings.settings
    about = f"{findings.target}, window {settings['window_s']:g} s; {DISCLAIMER}"
    figure.supxlabel(f"{findings.machine}\n{about}", fontsize=7)
    figure.savefig(path, dpi=120)
