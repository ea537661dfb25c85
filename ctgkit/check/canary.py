"""Sees after every check whether the backend still works: a sample goes in, a viewer sees it."""

import contextlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ctgkit.check.checks import Mismatch
from ctgkit.check.connection import Line, until_rest
from ctgkit.check.messages import reading
from ctgkit.check.watch import Watch, is_at

if TYPE_CHECKING:
    from ctgkit.check.rig import Bench

PATIENCE = 3.0
"""How many time-outs may pass without anything moving before something counts as broken."""
TOO_SLOW, BACKLOG_TRIES = 1013, 5
"""A viewer that is closed with this meets the end of a backlog; another one is asked, so often."""


class Canary:
    """What worked at the beginning, and whether it still does.

    One viewer stays connected throughout, so that looking doesn't wear out a backend that
    breaks when viewers leave.
    """

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench
        self._stack = AsyncExitStack()
        self._viewer: Line | None = None
        self.health_works = self.flow_works = self.viewer_works = False

    async def learn(self) -> None:
        """Find out what works."""
        self.health_works = not await self._health()
        if "witness" not in self._bench.lacks:
            self.flow_works = self.viewer_works = True
            self.viewer_works = not await self._flow()
            self.flow_works = self.viewer_works or not await self._flow()
        if not self.viewer_works:
            self._bench.lacks["viewer"] = "no viewer gets the samples (--ml-listen may help)"

    async def ailment(self) -> str:
        """Return what no longer works; empty when all does."""
        if self.health_works and (found := await self._health()):
            return found
        if self.flow_works and (found := await self._flow()):
            return found
        return ""

    async def leave(self) -> None:
        """Close the viewer that stays connected."""
        await self._stack.aclose()
        self._viewer = None

    @property
    def _patience_s(self) -> float:
        return PATIENCE * self._bench.timeout_s

    async def _health(self) -> str:
        try:
            response = await self._bench.http("/api/health", timeout_s=self._patience_s)
        except (Mismatch, OSError) as error:
            said = error.actual if isinstance(error, Mismatch) else str(error)
            return f"/api/health no longer answers ({said})"
        if response.status != 200:
            return f"/api/health answers {response.status}, it was 200"
        return ""

    async def _flow(self) -> str:
        """Send one sample and see it arrive; wait for as long as a backlog moves."""
        if not self.viewer_works or self._ml_is_away():
            return await self._through(None) and await self._through(None)
        try:
            standing = await self._standing()
            found = await self._through(standing)
            standing.received.clear()
            return await self._once_more() if found else ""
        except Mismatch as mismatch:
            return f"viewers are no longer let in ({mismatch.actual})"

    async def _once_more(self) -> str:
        """Ask a new viewer, and then the standing one again unless it was closed."""
        found, crowded = "", True
        for _ in range(BACKLOG_TRIES):
            await self._backlog_is_gone()
            async with self._bench.viewer() as new:
                found = await self._through(new)
                crowded = new.code == TOO_SLOW
            if not found or not crowded:
                break
        if found:
            return found
        if await self._through(await self._standing()):
            await self.leave()
            return "a viewer that was connected before gets nothing any more, a new one does"
        return ""

    async def _backlog_is_gone(self) -> None:
        """Wait until the ML service has got what waited for it: its answers come in a burst."""
        bench = self._bench
        if bench.ml_side is None or not bench.ml_side.linked:
            return
        with contextlib.suppress(Mismatch):  # the next look says what is wrong
            async with bench.sensor() as sensor:
                sec = await bench.sends(sensor)
                await until_rest(
                    lambda: bool(bench.ml.requests_at(sec)), bench.pulse, self._patience_s
                )

    def _ml_is_away(self) -> bool:
        return self._bench.ml_side is not None and not self._bench.ml_side.linked

    async def _standing(self) -> Line:
        if self._viewer is None or self._viewer.code is not None:
            await self.leave()
            self._viewer = await self._stack.enter_async_context(self._bench.viewer())
        return self._viewer

    async def _through(self, viewer: Line | None) -> str:
        bench = self._bench
        try:
            async with bench.watch() as watch, bench.sensor() as sensor:
                sec = await bench.sends(sensor)
                if not await self._arrives(watch, sec):
                    return f"a valid sample no longer arrives {watch.where}"
                if viewer is None:
                    return ""

                def shown() -> bool:
                    return viewer.code is not None or any(
                        (seen := reading(t)) and is_at(seen, sec) for t in viewer.received
                    )

                came = await until_rest(shown, bench.pulse, self._patience_s)
                return "" if came and viewer.code is None else "viewers get nothing"
        except Mismatch as mismatch:
            return f"a sensor is no longer served ({mismatch.actual})"

    async def _arrives(self, watch: Watch, sec: float) -> bool:
        known = 0

        def there() -> bool:
            nonlocal known
            seen = watch.own()
            if len(seen) > known:  # a backlog goes down: slow is not held up
                known = len(seen)
                self._bench.pulse.beat()
            return any(is_at(r, sec) for r in seen)

        return await until_rest(there, self._bench.pulse, self._patience_s)
