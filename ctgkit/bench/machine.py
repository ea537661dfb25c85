"""What a figure belongs to: the machine, the interpreter, the event loop."""

import importlib.metadata
import os
import platform
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that a benchmark ran on."""

    cpu: str
    cores: int
    """Those that this process may use."""
    system: str
    python: str
    uvloop: str | None
    """Its version; None when asyncio's own loop was used."""
    load: float
    """Processes that wanted a core during the last minute, before the benchmark."""

    def __str__(self) -> str:
        loop = f"uvloop {self.uvloop}" if self.uvloop else "asyncio without uvloop"
        return (
            f"{self.cpu}, {self.cores} cores, {self.system}, Python {self.python}, {loop},"
            f" load before {self.load:.1f}"
        )


def this_machine() -> Machine:
    """Describe the machine we run on."""
    try:
        uvloop = importlib.metadata.version("uvloop")
    except importlib.metadata.PackageNotFoundError:
        uvloop = None
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return Machine(
        cpu=_cpu(),
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        uvloop=uvloop,
        load=round(os.getloadavg()[0], 1),
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
