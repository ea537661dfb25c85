"""The whole system in one process: what you will see is a sensor's samples coming back as results.

A backend, the stub ML service, one fake sensor and a viewer, over real sockets.
"""

import asyncio
import tempfile
from pathlib import Path

from websockets.asyncio.client import connect

from ctgkit.config import new_sensors
from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.sensor.fleet import run_fleet
from ctgkit.sensor.settings import FleetSettings
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings
from ctgkit.simulate.repertoire import Repertoire
from ctgkit.wire import decode_result

SAMPLES = 2400  # ten minutes at 4 Hz


async def main(directory: Path) -> None:
    """Play ten minutes of data as fast as they go."""
    sensors = new_sensors(1)
    async with MlService(MlSettings(port=0)) as ml:
        settings = BackendSettings(
            sensors=sensors, database=directory / "ctg.db", port=0, ml_url=ml.url
        )
        async with run_backend(settings) as backend:
            await backend.ml_connected()
            address = backend.url.replace("http", "ws", 1)
            async with connect(address + "/ws", proxy=None) as viewer, asyncio.TaskGroup() as tasks:
                fleet = FleetSettings(
                    url=address + "/ws/sensor",
                    credentials=sensors,
                    make_source=Repertoire("normal-reactive", seed=1).source,
                    first_seq=1,
                    speed=float("inf"),
                    duration_s=SAMPLES / 4,
                )
                tasks.create_task(run_fleet(fleet))
                for _ in range(SAMPLES):
                    result = decode_result(await viewer.recv())
    assert result.prediction is not None
    print(f"{result.sec_from_start:g} s: {result.fhr_bpm} bpm, {result.prediction.hypoxia_risk}")


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(Path(temporary)))
