"""Fixtures of the view's tests."""

import socket

import pytest


@pytest.fixture
def unused_port():
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
