"""An ML service of your own: what you will see is your verdict reaching a viewer.

All it takes is a WebSocket server that answers each sample with one result (PROTOCOL M-3).
"""

import asyncio
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from ctgkit.config import new_sensors
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings


async def judge(backend: ServerConnection) -> None:
    """Call every heart rate above 150 beats/min suspicious."""
    async for text in backend:
        sample = json.loads(text)
        fhr_bpm = sample["data"]["BPMChild"]  # null: no signal
        suspicious = fhr_bpm is not None and fhr_bpm > 150
        status = "warning" if suspicious else "ok"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        await backend.send(
            json.dumps(sample | {"prediction": None, "status": status, "timestamp": now})
        )


async def main(directory: Path) -> None:
    """Send two samples, read two verdicts."""
    (sensor,) = new_sensors(1)
    async with serve(judge, "127.0.0.1", 0) as service:
        port = service.sockets[0].getsockname()[1]
        settings = BackendSettings(
            sensors=(sensor,),
            database=directory / "ctg.db",
            port=0,
            ml_url=f"ws://127.0.0.1:{port}/ws/ctg",
        )
        async with run_backend(settings) as backend:
            await backend.ml_connected()
            address = backend.url.replace("http", "ws", 1)
            async with (
                connect(address + "/ws", proxy=None) as viewer,
                connect(
                    f"{address}/ws/sensor?sensor_id={sensor.id}",
                    additional_headers={"X-Auth-Sensor-Token": sensor.token},
                    proxy=None,
                ) as fake_sensor,
            ):
                for second, fhr_bpm in enumerate((140.0, 160.0)):
                    data = {"BPMChild": fhr_bpm, "uterus": 10.0, "spasms": 0.0}
                    await fake_sensor.send(json.dumps({"secFromStart": second, "data": data}))
                    verdict = json.loads(await viewer.recv())
                    print(f"{fhr_bpm:g} bpm: {verdict['status']}")


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(Path(temporary)))
