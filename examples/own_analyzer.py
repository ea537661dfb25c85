"""An analysis of your own behind the stub's service: what you will see is its verdict at a viewer.

The service does the sockets, the order of the answers, errors and metrics; you write ``add``.
`own_ml_service.py` does without CTGKit's service.
"""

import asyncio
import tempfile
from collections import deque
from pathlib import Path

from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.samples import Prediction, Sample, risk_of
from ctgkit.testing.parties import Parties

MINUTE = 240  # samples at 4 Hz


class SlowHeart:
    """Calls a heart below 110 beats/min for most of a minute alarming: a toy, no medicine."""

    def __init__(self) -> None:
        self.last_minute: deque[bool] = deque(maxlen=MINUTE)

    def add(self, sample: Sample) -> Prediction | None:
        """Take one sample; answer it with a prediction, or None."""
        self.last_minute.append(sample.fhr_bpm is not None and sample.fhr_bpm < 110)
        share = sum(self.last_minute) / MINUTE
        if share < 0.5:
            return None
        return Prediction(
            hypoxia_probability=share,
            hypoxia_risk=risk_of(share),
            alerts=["slow heart"],
            confidence=1.0,
            recommendations=[],
        )


async def main(directory: Path) -> None:
    """Play a heart that slows down; read when the alarm begins."""
    parties = Parties(directory=directory, scenario="prolonged-recovering")
    async with (
        MlService(MlSettings(port=0, make_analyzer=SlowHeart)) as service,
        parties.backend(service.url) as backend,
        parties.sensors(backend) as sensors,
        parties.viewer(backend) as viewer,
    ):
        await sensors[0].play(duration_s=1200)
        alarm = await viewer.wait_for(lambda message: message["status"] == "critical", 30)
        print(f"{alarm['prediction']['alerts'][0]} at {alarm['secFromStart'] / 60:.0f} min")


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(Path(temporary)))
