"""What every benchmark shares: alternated repetitions, medians with their spread, and a table.

The machine's speed changes for minutes, so what is compared alternates within one run, and a
ratio is taken within each repetition. Trust the ratios, not the microseconds.
"""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import TypeVar

A, B = TypeVar("A"), TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How thoroughly to measure."""

    repeat: int = 3
    quick: bool = False
    """Prove that the benchmark works; its figures mean nothing."""
    directory: Path | None = None
    """Where databases go: which disk."""
    out: Path | None = None
    """Where curves go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure."""

    part: str
    name: str
    values: Sequence[float]
    """One of each repetition."""
    unit: str = "×"
    floor: str = ""
    """What it is divided by, or how it came about."""
    target: float | None = None
    stretch: float | None = None
    at_least: bool = False
    """Whether more is better."""
    beside: dict[str, float] = field(default_factory=dict)
    """Medians that explain it."""

    @property
    def median(self) -> float:
        """What counts."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """``stretch``, ``met``, ``missed``, or nothing without a target."""
        for name, limit in (("stretch", self.stretch), ("met", self.target)):
            if limit is not None and (
                self.median >= limit if self.at_least else self.median <= limit
            ):
                return name
        return "" if self.target is None else "missed"

    def as_dict(self) -> dict[str, object]:
        """Return it ready for JSON."""
        return {
            "part": self.part,
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "values": list(self.values),
            "floor": self.floor,
            "target": self.target,
            "stretch": self.stretch,
            "verdict": self.verdict,
            "beside": self.beside,
        }


def alternate(
    ours: Callable[[int], A], floor: Callable[[int], B], repeat: int
) -> list[tuple[A, B]]:
    """Measure ours and the floor *repeat* times, changing who goes first."""
    pairs = []
    for number in range(repeat):
        if number % 2:
            second = floor(number)
            pairs.append((ours(number), second))
        else:
            pairs.append((ours(number), floor(number)))
    return pairs


def cpu_s(pid: int) -> dict[str, float]:
    """Return the processor time of each thread of a process so far, seconds; the first is main."""
    threads = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name))
    return {
        thread.name: int((thread / "schedstat").read_text().split()[0]) / 1e9 for thread in threads
    }


def resident_kib(pid: int) -> float:
    """Return a process's resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024


def process_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of *work* in this process."""
    before_s = time.process_time()
    work()
    return time.process_time() - before_s


def machine() -> dict[str, object]:
    """Return what a figure has to be read with."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    git = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    versions = {
        name: metadata.version(name)
        for name in ("websockets", "msgspec", "uvloop")
        if util.find_spec(name)
    }
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "commit": git.stdout.strip(),
        **versions,
    }


HEADER = ("part", "figure", "median", "spread", "target", "stretch", "verdict", "floor, details")


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Return the table's cells, without the header."""

    def limit(figure: Figure, value: float | None) -> str:
        return "" if value is None else f"{'≥' if figure.at_least else '≤'} {value:g}"

    return [
        (
            f.part,
            f.name,
            f"{shown(f.median)} {f.unit}",
            f"{shown(min(f.values))} – {shown(max(f.values))}",
            limit(f, f.target),
            limit(f, f.stretch),
            f.verdict,
            "; ".join([f.floor] * bool(f.floor) + [f"{k} {shown(v)}" for k, v in f.beside.items()]),
        )
        for f in figures
    ]


def shown(value: float) -> str:
    """Return three significant digits, or all of an integer's."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def as_markdown(figures: Sequence[Figure]) -> str:
    """Return the table ready to paste into docs/performance.md."""
    lines = [HEADER, ("---",) * len(HEADER), *rows(figures)]
    said = ", ".join(f"{key} {value}" for key, value in machine().items())
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\nMachine: {said}."


def as_text(figures: Sequence[Figure]) -> str:
    """Return the table for a terminal."""
    lines = [HEADER, *rows(figures)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADER) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[-1]])
        for line in lines
    )
