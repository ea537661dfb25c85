"""Processes of one test, killed at its end."""

import asyncio

import pytest

from ctgkit.config import new_sensors
from ctgkit.server.store.sqlite import open_store
from tests.flow.processes import System


@pytest.fixture
def system(tmp_path):
    """A place for processes, with no configuration."""
    here = System(tmp_path)
    yield here
    here.end()


@pytest.fixture(scope="session")
def made_database(tmp_path_factory):
    """Return the bytes of a database as `serve` leaves it."""
    path = tmp_path_factory.mktemp("database") / "ctg.db"

    async def make():
        async with open_store(path, "full", {entry.id: bytes(32) for entry in new_sensors(3)}):
            pass

    asyncio.run(make())
    return path.read_bytes()
