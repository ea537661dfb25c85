"""A fault of your own: what you will see is a backend that stores what your fault made of samples.

A fault is a frozen dataclass with one pure function. This one is a sensor that has been set to
whole beats; it goes through the faults of CTGKit like theirs, with their schedule.
"""

import asyncio
import json
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ctgkit.config import new_sensors
from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.schedule import When
from ctgkit.faults.schema import parse_fault
from ctgkit.sensor.fleet import run_fleet
from ctgkit.sensor.settings import FleetSettings
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings
from ctgkit.simulate.repertoire import Repertoire


@dataclass(frozen=True, slots=True, kw_only=True)
class Coarse(MessageFault):
    """The heart rate comes in steps."""

    kind: ClassVar[str] = "coarse"
    step_bpm: float = 1.0

    def apply(self, message: Message, u: float) -> list[Message]:
        """Round the heart rate; a sample without signal stays as it is."""
        sample = json.loads(message.frame)
        fhr_bpm = sample["data"]["BPMChild"]
        if fhr_bpm is None:
            return [message]
        sample["data"]["BPMChild"] = round(fhr_bpm / self.step_bpm) * self.step_bpm
        return [message._replace(frame=json.dumps(sample).encode())]


async def main(directory: Path) -> None:
    """Play ten minutes; from the fifth on the heart rate comes in steps of 10."""
    faults = [Coarse(step_bpm=10, when=When(from_s=300)), parse_fault("drop:rate=0.01")]
    repertoire = Repertoire("normal-reactive", seed=1, faults=faults)
    sensors = new_sensors(1)
    settings = BackendSettings(
        sensors=sensors, database=directory / "ctg.db", port=0, ml_url=None, grace_s=60
    )
    async with run_backend(settings) as backend:
        summary = await run_fleet(
            FleetSettings(
                url=backend.url.replace("http", "ws", 1) + "/ws/sensor",
                credentials=sensors,
                make_source=repertoire.source,
                make_line=repertoire.line,
                on_fault=repertoire.note_fault,
                first_seq=1,
                speed=float("inf"),
                duration_s=600,
            )
        )
    rows = sqlite3.connect(directory / "ctg.db").execute(
        "SELECT sec_from_start, bpm FROM ctg WHERE bpm IS NOT NULL"
    )
    late = [bpm for sec, bpm in rows if sec >= 300]
    print(f"faults: {summary.faults}")
    print(f"all in steps of 10: {all(bpm % 10 == 0 for bpm in late)}")
    repertoire.write_truth(directory / "truth.jsonl", [sensors[0].id])
    truth = [json.loads(line) for line in (directory / "truth.jsonl").read_text().splitlines()]
    print("first in the truth:", next(e for e in truth if e.get("subtype") == "coarse"))


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(Path(temporary)))
