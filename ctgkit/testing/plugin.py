"""The pytest plugin: fixtures, options, markers. docs/testing.md explains them.

It is loaded with every test run of whoever has CTGKit installed, so it imports nothing heavy;
fixtures do, when they are used.
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

import ctgkit.clock  # noqa: F401 - takes hold of the true clock before any test freezes the time

if TYPE_CHECKING:
    from ctgkit.config import SensorEntry
    from ctgkit.mlstub.service import MlService
    from ctgkit.net.loopthread import LoopThread
    from ctgkit.testing.blocking import Backend, Sensor, Viewer
    from ctgkit.testing.parties import Parties

MARKERS = (
    "ctgkit_scenario(name): what the sensors of this test play: a shipped scenario or a TOML file",
    "ctgkit_ml_script(*rules): what the ML stub of this test does: rules as dicts, or a TOML file",
)
DEFAULT_SCENARIO = "normal-reactive"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("ctgkit", "CTGKit: fake fetal monitors")
    group.addoption(
        "--ctgkit-url",
        metavar="URL",
        help="Test this backend instead of CTGKit's own; its sensors are listed in ctgkit.toml.",
    )
    group.addoption(
        "--ctgkit-seed",
        type=_seed,
        default=0,
        metavar="N",
        help="Seed of what the sensors play (default: 0).",
    )


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Describe our markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_report_header(config: pytest.Config) -> str:
    """Say what is tested, and what makes the run repeatable."""
    url = config.getoption("ctgkit_url") or "its own backend"
    return f"ctgkit: {url}, --ctgkit-seed={config.getoption('ctgkit_seed')}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say why tests were skipped with ``--ctgkit-url``: pytest itself does so only with -rs."""
    if not config.getoption("ctgkit_url") or {"s", "a", "A"} & set(config.option.reportchars):
        return
    reports = terminalreporter.stats.get("skipped", ())
    reasons = Counter(str(r.longrepr[2]).removeprefix("Skipped: ") for r in reports)
    for reason, count in reasons.items():
        terminalreporter.write_line(f"ctgkit: {count} skipped: {reason}")


@pytest.fixture(scope="session")
def _ctgkit_loop() -> "Iterator[LoopThread]":
    from ctgkit.net.loopthread import LoopThread

    with LoopThread() as loop:
        yield loop


@pytest.fixture(scope="session")
def _ctgkit_credentials(pytestconfig: pytest.Config) -> "tuple[Sequence[SensorEntry], str | None]":
    """Sensors of the user's backend for this worker, and its viewer token; none without a URL."""
    if not pytestconfig.getoption("ctgkit_url"):
        return (), None
    from ctgkit.config import default_credentials, find_config

    config = find_config(None)
    known = config.sensors or default_credentials(create=False).sensors
    if not known:
        raise pytest.UsageError(
            "--ctgkit-url needs sensors that the backend knows, as [[sensors]] in ctgkit.toml"
        )
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return known[number :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))], (
        config.viewer_token
    )


@pytest.fixture
def ctgkit_async(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _ctgkit_credentials: "tuple[Sequence[SensorEntry], str | None]",
) -> "Parties":
    """Give what starts a backend, an ML stub, sensors, viewers inside an ``async`` test."""
    from ctgkit.testing.parties import Parties, script_of

    seed = request.config.getoption("ctgkit_seed")
    scenario = request.node.get_closest_marker("ctgkit_scenario")
    if scenario and len(scenario.args) != 1:
        raise pytest.UsageError("the marker ctgkit_scenario takes one scenario")
    script = request.node.get_closest_marker("ctgkit_ml_script")
    return Parties(
        directory=tmp_path_factory.mktemp("ctgkit"),
        seed=seed,
        scenario=scenario.args[0] if scenario else DEFAULT_SCENARIO,
        script=script and script_of(script.args, seed, "marker ctgkit_ml_script"),
        url=request.config.getoption("ctgkit_url"),
        credentials=_ctgkit_credentials[0],
        viewer_token=_ctgkit_credentials[1],
    )


@pytest.fixture
def ctgkit_ml(_ctgkit_loop: "LoopThread", ctgkit_async: "Parties") -> "Iterator[MlService]":
    """Give an ML stub, to which the backend of the same test is connected.

    It has ``url`` and ``counts.requests``. The marker ``ctgkit_ml_script`` tells it what to do;
    otherwise it analyses honestly.
    """
    with _ctgkit_loop.holding(ctgkit_async.ml()) as service:
        yield service


@pytest.fixture
def ctgkit_backend(
    request: pytest.FixtureRequest, _ctgkit_loop: "LoopThread", ctgkit_async: "Parties"
) -> "Iterator[Backend]":
    """Give a backend with an empty database, or yours with ``--ctgkit-url``."""
    from ctgkit.testing.blocking import Backend

    ml_url = None
    if "ctgkit_ml" in request.fixturenames:
        ml_url = request.getfixturevalue("ctgkit_ml").url
    with _ctgkit_loop.holding(ctgkit_async.backend(ml_url)) as backend:
        yield Backend(_ctgkit_loop, backend)


@pytest.fixture
def ctgkit_sensors(
    _ctgkit_loop: "LoopThread", ctgkit_async: "Parties", ctgkit_backend: "Backend"
) -> "Iterator[tuple[Sensor, ...]]":
    """Give the sensors that the backend knows, three of ours; each is another patient."""
    from ctgkit.testing.blocking import Sensor

    if not ctgkit_backend.sensors:
        pytest.skip("ctgkit.toml has fewer sensors than pytest-xdist has workers")
    with _ctgkit_loop.holding(ctgkit_async.sensors(ctgkit_backend.party)) as sensors:
        yield tuple(Sensor(_ctgkit_loop, sensor) for sensor in sensors)


@pytest.fixture
def ctgkit_sensor(ctgkit_sensors: "tuple[Sensor, ...]") -> "Sensor":
    """Give the first of the sensors."""
    return ctgkit_sensors[0]


@pytest.fixture
def ctgkit_viewer(
    _ctgkit_loop: "LoopThread", ctgkit_async: "Parties", ctgkit_backend: "Backend"
) -> "Iterator[Viewer]":
    """Give a viewer of the backend, connected before the test begins."""
    from ctgkit.testing.blocking import Viewer

    with _ctgkit_loop.holding(ctgkit_async.viewer(ctgkit_backend.party)) as viewer:
        yield Viewer(_ctgkit_loop, viewer)
