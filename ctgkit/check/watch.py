"""What somebody downstream of the backend saw of the samples since a moment."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ctgkit.check.connection import Pulse, until
from ctgkit.check.messages import BAD_SEC_MAX, BAD_SEC_MIN, BAD_UTERUS, Reading
from ctgkit.check.quiet import Quiet

FIRST_SEC, STEP_S = 1000.0, 0.25
"""Data time of the checker's samples: exact in 32 bits too, and never met twice in a run."""
SEC_TOLERANCE_S = 0.005
"""What a data time may lose on its way in 32 bits, seconds."""


@dataclass(slots=True)
class Watch:
    """What a witness saw since the watch began."""

    where: str
    readings: Callable[[], list[Reading]]
    """All that arrived, of any sensor."""
    own_id: str
    timeout_s: float
    pulse: Pulse
    quiet: Quiet
    known_until: float
    """Samples from `FIRST_SEC` to here were sent earlier: they may still be on their way."""
    bad_until: float
    """So may bad samples up to here."""

    async def saw(self, sec: float, times: int = 1) -> Reading:
        """Wait for the first sensor's sample at *sec*, and return what became of it."""

        def found() -> list[Reading]:
            seen = [r for r in self.own() if is_at(r, sec)]
            return seen if len(seen) >= times else []

        began_s = asyncio.get_running_loop().time()
        what = f"the sample at {sec:g} s" + (f", {times} times," if times > 1 else "")
        readings = await until(
            found,
            f"{what} arrives {self.where}",
            lambda: f"{len(self.fresh())} new samples did, not this",
            self.timeout_s,
        )
        self.pulse.beat()
        await self.quiet.commits(began_s)
        return readings[0]

    def own(self) -> list[Reading]:
        """Return what was seen of the first sensor."""
        return [r for r in self.readings() if r.sensor_id == self.own_id]

    def fresh(self) -> list[Reading]:
        """Return what was seen of the first sensor, without late ones of earlier checks."""
        return [r for r in self.own() if not self._is_late(r)]

    def foreign(self) -> list[Reading]:
        """Return bad samples that arrived under another sensor's id."""
        return [
            r
            for r in self.readings()
            if r.sensor_id != self.own_id
            and r.uterus == BAD_UTERUS
            and isinstance(r.sec, int | float)
            and self.bad_until <= r.sec <= BAD_SEC_MAX
        ]

    def _is_late(self, seen: Reading) -> bool:
        return isinstance(seen.sec, int | float) and (
            FIRST_SEC <= seen.sec <= self.known_until or BAD_SEC_MIN <= seen.sec < self.bad_until
        )


def is_at(seen: Reading, sec: float) -> bool:
    """Return whether a reading is of *sec*, or of what 32 bits make of it."""
    return isinstance(seen.sec, int | float) and abs(seen.sec - sec) < SEC_TOLERANCE_S
