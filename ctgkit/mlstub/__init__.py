"""The stub ML service: samples in, predictions out. A test tool, not a medical device.

For the analysis alone, without any network::

    from ctgkit.mlstub import Analyzer, analyze
    report = analyze(recording)            # a whole recording at once
    analysis = Analyzer().add(sample)      # or sample by sample; None until one is due
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctgkit.mlstub.analyzer import Analysis, Analyzer, AnalyzerSettings
    from ctgkit.mlstub.report import Report, analyze

__all__ = ["Analysis", "Analyzer", "AnalyzerSettings", "Report", "analyze"]


def __getattr__(name: str) -> Any:
    """Import the analyzer when it is asked for: `ctgkit ml --help` needs no numpy."""
    if name not in __all__:
        raise AttributeError(name)
    from ctgkit.mlstub import analyzer, report

    return getattr(analyzer if name.startswith("Anal") else report, name)
