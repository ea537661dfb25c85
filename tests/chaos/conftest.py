"""The processes of tests/flow, under worse conditions."""

from tests.flow.conftest import made_database, system

__all__ = ["made_database", "system"]
