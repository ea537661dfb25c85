"""Async tests without a plugin: each runs on its own loop, with a deadline."""

import asyncio
import contextlib
import inspect
import os
import signal
import sys
import urllib.request

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("CTGKIT_HYPOTHESIS", "same"))
"""A red test is about the change, not about the day; `make fuzz` draws new examples."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
"""Hundreds of processes of ours would each compile the package anew."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell starts what runs in its background deaf to Ctrl-C, and so are all processes of that."""

urllib.request.getproxies = dict
"""The tests' own clients talk to this machine; processes of ours keep the environment's proxies."""

TIME_FACTOR = float(os.environ.get("CTGKIT_TEST_TIME_FACTOR", "1"))
"""Multiplies every deadline, for slow machines."""

LOOP_DEBUG = bool(os.environ.get("CTGKIT_TEST_LOOP_DEBUG"))
"""asyncio's debug mode, as in `make coverage`: a third more CPU, so not in the default run."""

DEADLINE_S = 120.0
SLOW_DEADLINE_S = 900.0
"""The same for tests marked slow or chaos."""


def pytest_xdist_auto_num_workers():
    """Use more workers than cores: much of the run waits for processes and sockets."""
    return 3 * (os.cpu_count() or 2)


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
        async with processes_end(), asyncio.timeout(deadline_s * TIME_FACTOR):
            await pyfuncitem.obj(**arguments)

    with asyncio.Runner(debug=LOOP_DEBUG) as runner:
        runner.run(bounded())
    return True


@contextlib.asynccontextmanager
async def processes_end():
    """Kill what a test that failed left running: the next one would be told of it."""
    begun, begin = [], asyncio.create_subprocess_exec

    async def noted(*arguments, **how):
        begun.append(await begin(*arguments, **how))
        return begun[-1]

    asyncio.create_subprocess_exec = noted
    try:
        yield
    finally:
        asyncio.create_subprocess_exec = begin
        for process in begun:
            if process.returncode is None:
                process._transport.close()  # kills it, and nobody reads its pipes
                await process.wait()


@pytest.fixture(scope="session")
def postgres():
    """Run one PostgreSQL for all tests of this worker that ask; skip where there is none."""
    from tests.postgres import clusters

    with clusters() as make:
        yield make().start()
