"""What tests of the backend share."""

import pytest

from ctgkit.server import mllink, priming


@pytest.fixture
def patient(monkeypatch):
    """Wait a minute for a service: one process is all parties, and may stand still for 2 s."""
    monkeypatch.setattr(mllink, "ANSWER_WITHIN_S", 60.0)
    monkeypatch.setattr(priming, "HELD_S", 60.0)
    monkeypatch.setattr(priming, "ANSWERS_WITHIN_S", 60.0)
