"""The analysis: samples in; baseline, events, features, class and prediction out. Pure.

A test tool, not a medical device::

    from ctgkit.analysis import Analyzer, analyze
    report = analyze(recording)            # a whole recording at once
    analysis = Analyzer().add(sample)      # or sample by sample; None until one is due
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctgkit.analysis.analyzer import Analysis, Analyzer, AnalyzerSettings
    from ctgkit.analysis.report import Report, analyze

__all__ = ["Analysis", "Analyzer", "AnalyzerSettings", "Report", "analyze"]


def __getattr__(name: str) -> Any:
    """Import the analyzer when it is asked for: `ctgkit analyze --help` needs no numpy."""
    if name not in __all__:
        raise AttributeError(name)
    from ctgkit.analysis import analyzer, report

    return getattr(analyzer if name.startswith("Anal") else report, name)
