"""Async tests without a plugin: each runs on its own loop, in debug mode, with a deadline."""

import asyncio
import inspect
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("CTGKIT_HYPOTHESIS", "same"))
"""A red test is about the change, not about the day; `make fuzz` draws new examples."""

TIME_FACTOR = float(os.environ.get("CTGKIT_TEST_TIME_FACTOR", "1"))
"""Multiplies every deadline, for slow machines."""

DEADLINE_S = 30.0
SLOW_DEADLINE_S = 900.0
"""The same for tests marked slow or chaos."""


if os.environ.get("HTTP_PROXY"):  # `make test-ambient`: ours must go past it, and do so themselves
    import websockets.asyncio.client
    import websockets.sync.client

    _OURS = str(Path(__file__).parents[1] / "ctgkit") + os.sep

    def _unless_ours(look_up):
        def get_proxy(uri):
            frame = sys._getframe()
            while frame := frame.f_back:
                if frame.f_code.co_filename.startswith(_OURS):
                    return look_up(uri)
            return None

        return get_proxy

    for _module in (websockets.asyncio.client, websockets.sync.client):
        _module.get_proxy = _unless_ours(_module.get_proxy)


def pytest_xdist_auto_num_workers():
    """Use more workers than cores: much of the run waits for processes and sockets."""
    return max(2, (os.cpu_count() or 2) * 3 // 2)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run coroutine tests."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    long = pyfuncitem.get_closest_marker("slow") or pyfuncitem.get_closest_marker("chaos")
    deadline_s = SLOW_DEADLINE_S if long else DEADLINE_S

    async def bounded():
        async with asyncio.timeout(deadline_s * TIME_FACTOR):
            await pyfuncitem.obj(**arguments)

    with asyncio.Runner(debug=True) as runner:
        runner.run(bounded())
    return True
