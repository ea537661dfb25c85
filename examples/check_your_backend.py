"""Check a backend from Python: what you will see is each clause that it breaks, then the count.

Here it is CTGKit's own; for yours, put its address and the credentials of a sensor it knows.
`ctgkit check backend URL` does the same from the command line.
"""

import asyncio
import tempfile
from pathlib import Path

from ctgkit.check.backend.catalogue import BACKEND
from ctgkit.check.checks import Verdict
from ctgkit.check.connection import target_of
from ctgkit.check.probe import run_bench
from ctgkit.check.report import summary
from ctgkit.check.rig import BenchSettings
from ctgkit.check.run import run_checks
from ctgkit.config import SensorEntry, new_sensors
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings

CLAUSES = ["S-1", "S-4.8", "H-1"]


async def judge(url: str, sensors: tuple[SensorEntry, ...]) -> list[Verdict]:
    """Judge the backend at *url* by some clauses."""
    async with run_bench(BenchSettings(target=target_of(url), sensors=sensors)) as bench:
        return await run_checks(bench, BACKEND.select(CLAUSES, strict=False))


async def main(directory: Path) -> None:
    """Start a backend to judge, and judge it."""
    sensors = new_sensors(1)
    settings = BackendSettings(sensors=sensors, database=directory / "ctg.db", port=0, ml_url=None)
    async with run_backend(settings) as backend:
        verdicts = await judge(backend.url, sensors)
    for verdict in verdicts:
        if verdict.outcome == "fail":
            print(f"{verdict.check.id}: expected {verdict.expected}, got {verdict.actual}")
    print(summary(verdicts))


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(Path(temporary)))
