"""Libraries that may be missing: they are looked for, not imported.

An import to see whether one is there reads what the user has set up for it: matplotlib ends with a
ValueError where MPLBACKEND or matplotlibrc is broken, unless an earlier test had loaded it.
"""

from importlib.util import find_spec

import pytest


def need(*libraries):
    """Skip the test, or the module that asks, where one of *libraries* is not installed."""
    for library in libraries:
        if find_spec(library) is None:
            pytest.skip(f"needs {library}", allow_module_level=True)
