"""CTGKit: fake CTG sensors, a reference backend, a stub ML service and a test bench.

A test tool, not a medical device. What this module offers is listed in :mod:`ctgkit.api` and
imported when it is first used, so that the command line starts quickly.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctgkit.api import *  # noqa: F403 - the list is api.__all__

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    from importlib import import_module
    from importlib.util import find_spec

    if not name.startswith("_") and find_spec(f"ctgkit.{name}") is None:
        api = import_module("ctgkit.api")
        if name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module 'ctgkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    from importlib import import_module

    return sorted([*globals(), *import_module("ctgkit.api").__all__])
