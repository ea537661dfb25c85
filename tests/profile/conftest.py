"""Processes of one test, killed at its end."""

import pytest

from tests.flow.processes import System


@pytest.fixture
def system(tmp_path):
    """A place for processes, with no configuration."""
    here = System(tmp_path)
    yield here
    here.end()
