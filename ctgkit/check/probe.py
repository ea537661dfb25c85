"""What a backend lets the checker see, found out before anything is judged."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

from ctgkit.check.checks import Mismatch
from ctgkit.check.connection import Pulse, answers, until
from ctgkit.check.launched import Launched
from ctgkit.check.messages import SUBPROTOCOL
from ctgkit.check.ml_service import MlSide
from ctgkit.check.postgres import opened
from ctgkit.check.rig import Bench, BenchSettings
from ctgkit.errors import Unreachable


async def probe(bench: Bench) -> None:
    """Find out what this backend lets us see; what it doesn't goes to ``lacks``."""
    _probe_settings(bench)
    await _probe_ml(bench)
    await _probe_viewer_token(bench)
    if not bench.settings.sensors:
        why = "no credentials: give --sensor-id and --token-file"
        bench.lacks |= dict.fromkeys(("sensor", "v1", "witness"), why)
        return
    try:
        async with bench.sensor(v1=True) as line:
            if line.connection.subprotocol != SUBPROTOCOL:
                bench.lacks["v1"] = f"the backend doesn't speak {SUBPROTOCOL}"
            try:
                await line.settle()
            except Mismatch:
                bench.pulse.pongs = line.code is not None  # clause C-2.1, judged by its own checks
    except Mismatch as mismatch:
        why = f"the sensor isn't let in: {mismatch.actual}"
        bench.lacks |= dict.fromkeys(("sensor", "pair", "v1", "witness"), why)
        return
    await _probe_witness(bench)
    await bench.canary.learn()


def _probe_settings(bench: Bench) -> None:
    sensors = bench.settings.sensors
    beds = {s.bed for s in sensors[:2]}
    if len(sensors) < 2 or len(beds) > 1:
        bench.lacks["pair"] = "needs credentials of two sensors of one bed"
    if sum(bool(s.control) for s in sensors) < 2:
        bench.lacks["control"] = "needs two sensors with a control address in the configuration"
    if bench.settings.in_another_bed is None:
        bench.lacks["beds"] = "needs credentials of sensors of two beds"
    if not bench.settings.grace_s:
        bench.lacks["grace"] = "needs --grace"
    if not bench.database:
        bench.lacks["store"] = "needs --store"
    if not bench.settings.max_connections:
        bench.lacks["limit"] = "needs --max-connections"
    if bench.launched is None:
        bench.lacks["run"] = "needs --run"
    if not bench.settings.viewer_token:
        bench.lacks["remote"] = "needs the viewers' token"


async def _probe_ml(bench: Bench) -> None:
    if not bench.ml_side:
        bench.lacks |= dict.fromkeys(("ml", "ml-listen"), "needs --ml-listen")
        return
    try:
        await until(lambda: bench.ml.linked, "", str, bench.settings.patience_s)
    except Mismatch:
        bench.lacks["ml"] = (
            f"the backend didn't connect to --ml-listen within {bench.settings.patience_s:g} s"
        )


async def _probe_viewer_token(bench: Bench) -> None:
    """See whether a backend on loopback asks viewers for the token."""
    if "remote" in bench.lacks or not _is_loopback(bench.target.host):
        return
    wrong = [("Authorization", "Bearer wrong")]
    with contextlib.suppress(Mismatch, OSError):
        if (await bench.handshake("/ws", wrong)).status == 101:
            bench.lacks["remote"] = "viewers on loopback are asked for no token"


async def _probe_witness(bench: Bench) -> None:
    candidates: tuple[tuple[Literal["store", "ml", "viewer"], bool], ...] = (
        ("store", "store" not in bench.lacks),
        ("ml", "ml" not in bench.lacks),
        ("viewer", True),
    )
    for bench.witness, offered in candidates:
        if not offered:
            continue
        try:
            async with bench.watch() as watch, bench.sensor() as line:
                await watch.saw(await bench.sends(line))
                return
        except Mismatch:
            continue
    bench.lacks["witness"] = "a valid sample showed up nowhere (--ml-listen or --store may help)"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def run_bench(
    settings: BenchSettings,
    ml_listen: tuple[str, int] | None = None,
    launched: Launched | None = None,
    wait_s: float = 0.0,
) -> AsyncIterator[Bench]:
    """Set up a bench around a backend, probed and ready.

    Parameters
    ----------
    settings : BenchSettings
        What to judge, and with what.
    ml_listen : tuple of str and int, optional
        Where to be the backend's ML service.
    launched : Launched, optional
        The backend's process, not started yet.
    wait_s : float
        How long a backend that runs already may take to listen, seconds.

    Raises
    ------
    ConfigError, StoreError, Unreachable
        When the address of the ML side can't be bound, the database can't be read, or nothing
        listens at the target.
    """
    async with AsyncExitStack() as stack:
        ml, pulse = None, Pulse()
        if ml_listen is not None:
            ml = MlSide(pulse)
            await stack.enter_async_context(ml.serving(*ml_listen))
        if launched is not None:
            await stack.enter_async_context(launched.running())
        if not await answers(settings.target, wait_s):
            raise Unreachable(settings.target.web_url, "nothing listens there")
        database = stack.enter_context(opened(settings.store))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        bench = Bench(settings, pulse, ml, database, tasks, launched)
        await probe(bench)
        yield bench
        await bench.canary.leave()
