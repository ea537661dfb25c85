"""Draw every shipped scenario as a 20-minute strip and write docs/scenarios.md.

    python docs/make_strips.py [NAME …]

Needs matplotlib (development only). The page's tables come from ctgkit/simulate/knobs.py; what was
seen on the strips is in docs/scenarios/seen.toml, by hand.
"""

import sys
import tomllib
from pathlib import Path

import numpy as np

from ctgkit.simulate.knobs import CHOICES, FORCED, KNOBS
from ctgkit.simulate.library import load_scenario, scenario_names
from ctgkit.simulate.sensor import Sensor

HERE = Path(__file__).parent
STRIP_MIN = 20
FROM_MIN = {
    "prolonged-recovering": 5, "terminal-bradycardia": 12, "saltatory": 3, "zigzag": 8,
    "pseudo-sinusoidal": 22, "tachysystole": 22, "hypertonus": 8, "hypoxia-acute": 6,
    "hypoxia-subacute": 14, "hypoxia-gradual": 92, "chorioamnionitis": 88,
    "doubling-halving": 20, "sensor-off": 4, "intrapartum-cohort": 45, "intrapartum-ultrasound": 45,
    "intrapartum-electrode": 45, "intrapartum-telemetry": 45, "intrapartum-whole": 45,
}  # fmt: skip
"""Where the strip begins, minutes, when the interesting part comes later."""
SEEDS = {"normal-reactive": 3, "poor-signal": 3, "intrapartum-cohort": 46, "zigzag": 43,
         "intrapartum-telemetry": 3}  # fmt: skip
"""Where the strip of the usual seed shows little of what the scenario is about."""
EVENT_COLOURS = {"acceleration": "tab:green", "deceleration": "tab:red", "contraction": "tab:blue"}


def draw(name: str, path: Path) -> None:
    """Draw one strip: 30-240 bpm above 0-100 units, events of the truth as bars."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from_min = FROM_MIN.get(name, 0)
    seed = SEEDS.get(name, scenario_names().index(name))  # another patient on each strip
    sensor = Sensor(load_scenario(name), seed=seed)
    sensor.seek(from_min * 240)
    chunk = sensor.read(STRIP_MIN * 240)
    minutes = chunk.sec_from_start / 60
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(14, 5), sharex=True, height_ratios=[2.1, 1], layout="constrained"
    )
    jump = np.abs(np.diff(chunk.fhr_bpm, prepend=np.nan)) > 30
    top.plot(minutes, np.where(jump, np.nan, chunk.fhr_bpm), lw=0.7, color="black")
    top.set_ylim(50, 210)
    top.set_ylabel("bpm")
    top.axhspan(110, 160, color="tab:green", alpha=0.06, lw=0)
    bottom.plot(minutes, chunk.uterus, lw=0.8, color="black")
    bottom.set_ylim(0, 100)
    bottom.set_ylabel("toco")
    bottom.set_xlabel("min")
    bottom.set_xlim(from_min, from_min + STRIP_MIN)
    for axis, step in ((top, 10), (bottom, 10)):
        axis.set_yticks(np.arange(*axis.get_ylim(), step), minor=True)
        axis.set_xticks(np.arange(from_min, from_min + STRIP_MIN + 0.1, 0.5), minor=True)
        axis.set_xticks(np.arange(from_min, from_min + STRIP_MIN + 0.1, 1))
        axis.grid(which="minor", color="tab:orange", alpha=0.15, lw=0.5)
        axis.grid(which="major", color="tab:orange", alpha=0.4, lw=0.6)
    for event in sensor.events():
        if event.kind in EVENT_COLOURS and event.end_s > from_min * 60:
            axis = bottom if event.kind == "contraction" else top
            y = 97 if event.kind == "contraction" else 206
            axis.hlines(y, event.onset_s / 60, event.end_s / 60, EVENT_COLOURS[event.kind], lw=3)
    title = load_scenario(name).title
    figure.suptitle(f"{name}: {title} (simulated, seed {seed})", fontsize=9)
    figure.savefig(path, dpi=60, metadata={"Software": None})
    plt.close(figure)


def tables() -> str:
    """Return the reference of knobs, words and events."""
    lines = ["## Knobs", "", "| knob | default | range | unit | meaning |", "|---|---|---|---|---|"]
    for path, k in KNOBS.items():
        lines.append(
            f"| `{path}` | {k.default:g} | {k.low:g} to {k.high:g} | {k.unit} | {k.meaning}"
            f"{' Fixed for a run.' if k.fixed else ''} |"
        )
    lines += ["", "## Words", "", "| key | default | options | meaning |", "|---|---|---|---|"]
    for path, c in CHOICES.items():
        lines.append(f"| `{path}` | {c.default} | {', '.join(c.options)} | {c.meaning} |")
    lines += ["", "## Events that can be forced or injected", ""]
    lines += ["| event | size | duration, s | meaning |", "|---|---|---|---|"]
    for event, f in FORCED.items():
        size = (
            f"{f.size:g} ({f.size_low:g} to {f.size_high:g}) {f.size_unit}" if f.size_unit else ""
        )
        span = f"{f.duration_s:g} ({f.duration_low_s:g} to {f.duration_high_s:g})"
        lines.append(f"| `{event}` | {size} | {span} | {f.meaning} |")
    return "\n".join(lines)


def page() -> str:
    """Return docs/scenarios.md."""
    seen = tomllib.loads((HERE / "scenarios" / "seen.toml").read_text())
    intro = (HERE / "scenarios" / "intro.md").read_text().strip()
    parts = [intro, "", tables(), "", "## The shipped scenarios", ""]
    for name in scenario_names():
        scenario = load_scenario(name)
        parts += [f"### {name}", "", f"{scenario.title}. {scenario.duration_s / 60:g} min.", ""]
        if name in seen:
            parts += [f"![{name}](scenarios/{name}.png)", "", f"Seen: {seen[name]}", ""]
    return "\n".join(parts).rstrip() + "\n"


def main() -> None:
    """Draw the strips named, or all; write the page."""
    for name in sys.argv[1:] or scenario_names():
        draw(name, HERE / "scenarios" / f"{name}.png")
    (HERE / "scenarios.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
