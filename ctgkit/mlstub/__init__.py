"""The stub ML service: samples in, predictions out. A test tool, not a medical device.

For the analysis alone, without any network::

    from ctgkit.mlstub import Analyzer, analyze
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctgkit.mlstub.analyzer import Analysis, Analyzer

__all__ = ["Analysis", "Analyzer"]


def __getattr__(name: str) -> Any:
    """Import the analyzer when it is asked for: `ctgkit ml --help` needs no numpy."""
    if name not in __all__:
        raise AttributeError(name)
    from ctgkit.mlstub import analyzer

    return getattr(analyzer, name)
