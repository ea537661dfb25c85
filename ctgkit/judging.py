"""``ctgkit check`` from Python: a backend or an ML service, judged by PROTOCOL.md."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ctgkit.errors import ConfigError, Unreachable

if TYPE_CHECKING:
    from ctgkit.check.checks import Catalogue, Check, Verdict
    from ctgkit.config import SensorEntry


def check_backend(
    url: str,
    credentials: "Sequence[SensorEntry]" = (),
    *,
    only: Sequence[str] = (),
    viewer_token: str | None = None,
    timeout_s: float = 3.0,
) -> "list[Verdict]":
    """Check any backend for conformance with PROTOCOL.md.

    Parameters
    ----------
    url : str
        ``http://HOST:PORT``.
    credentials : sequence of SensorEntry
        Sensors that the backend knows and nobody else uses meanwhile.
    only : sequence of str
        Clauses or ids of checks; empty for all that need no option of the command line.
    viewer_token : str or None
        What it asks from viewers.
    timeout_s : float
        How long to wait for each answer, seconds.

    Returns
    -------
    list of Verdict
        One per check: ``check``, ``outcome``, ``expected``, ``actual``.

    Raises
    ------
    Unreachable
        When nothing listens at *url*.
    ConfigError
        When one of *only* names no check.
    """
    from ctgkit.check.backend.catalogue import BACKEND
    from ctgkit.check.connection import answers, target_of
    from ctgkit.check.probe import run_bench
    from ctgkit.check.rig import BenchSettings
    from ctgkit.check.run import run_checks

    checks = _selected(BACKEND, only)
    target = target_of(url, ("/ws/sensor", "/ws"))
    settings = BenchSettings(
        target=target,
        sensors=tuple(credentials),
        timeout_s=timeout_s,
        viewer_token=viewer_token,
    )

    async def judged() -> "list[Verdict]":
        if not await answers(target, 0.0):
            raise Unreachable(target.web_url, "nothing listens there")
        async with run_bench(settings, None) as bench:
            return await run_checks(bench, checks)

    return _finished(judged())


def check_ml(
    url: str,
    *,
    only: Sequence[str] = (),
    ml_format: Literal["nested", "flat"] = "nested",
    timeout_s: float = 3.0,
) -> "list[Verdict]":
    """Check any ML service for conformance with PROTOCOL.md.

    Parameters
    ----------
    url : str
        ``ws://HOST:PORT/ws/ctg``.
    only : sequence of str
        Clauses or ids of checks; empty for all.
    ml_format : {"nested", "flat"}
        Shape of the requests.
    timeout_s : float
        How long to wait for each answer, seconds.

    Returns
    -------
    list of Verdict
        One per check.

    Raises
    ------
    Unreachable
        When nothing listens at *url*.
    ConfigError
        When one of *only* names no check.
    """
    from ctgkit.check.connection import answers, target_of
    from ctgkit.check.run import run_checks
    from ctgkit.check.service.catalogue import SERVICE
    from ctgkit.check.service.rig import ServiceBench

    checks = _selected(SERVICE, only)
    target = target_of(url)

    async def judged() -> "list[Verdict]":
        if not await answers(target, 0.0):
            raise Unreachable(target.socket_url, "nothing listens there")
        async with asyncio.TaskGroup() as tasks:
            bench = ServiceBench(
                target=target, tasks=tasks, timeout_s=timeout_s, ml_format=ml_format
            )
            await bench.learn()
            return await run_checks(bench, checks)

    return _finished(judged())


def _selected(catalogue: "Catalogue", only: Sequence[str]) -> "list[Check]":
    try:
        return catalogue.select(only, strict=False)
    except LookupError as error:
        raise ConfigError("only", f"{error} names no check") from None


def _finished(judged: "Coroutine[Any, Any, list[Verdict]]") -> "list[Verdict]":
    """Run on a thread of its own: a notebook has a loop running already."""
    from ctgkit.net.loopthread import LoopThread

    with LoopThread() as loop:
        return loop.run(judged)
