"""The report as one HTML page without any external request.

This module performs no I/O.
"""

from collections.abc import Sequence
from html import escape

from ctgkit.check.checks import Verdict
from ctgkit.check.report import DISCLAIMER, counts, details, likely_causes, summary, unjudged

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-top: 1px solid #8884 }
td pre { margin: .2rem 0 0; white-space: pre-wrap; font-size: .87em }
.fail, .blocked { color: #c0261c; font-weight: 600 } .pass { color: #1f8a3b }
.warn { color: #a66b00 } .skipped { color: #777 } .not-judged { color: #8a3ba6; font-weight: 600 }
.cause { border-left: 4px solid #c0261c; padding-left: .8rem }
"""


def as_html(target: str, profile: str, verdicts: Sequence[Verdict], seconds: float) -> str:
    """Return the report: counts, likely causes, failures first, then clause by clause."""
    judged = [v for v in verdicts if v.outcome in ("pass", "warn", "fail")]
    rank = {"fail": 0, "warn": 1, "pass": 2}
    rows = "".join(_row(v) for v in sorted(judged, key=lambda v: rank[v.outcome]))
    causes = "".join(f'<p class="cause">{escape(line)}</p>' for line in likely_causes(verdicts))
    folded = "".join(f"<li>{escape(line)}</li>" for line in unjudged(verdicts))
    total = ", ".join(f"{n} {outcome}" for outcome, n in counts(verdicts).items() if n)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>ctgkit check: {escape(total)}</title><style>{_STYLE}</style>"
        f"<h1>ctgkit check</h1><p><b>{escape(target)}</b>, profile {escape(profile)}<br>"
        f"{escape(summary(verdicts, seconds))}</p>{causes}"
        "<table><tr><th>check<th>verdict<th>what<th>s</tr>"
        f"{rows}</table>"
        + (f"<h2>Not judged</h2><ul>{folded}</ul>" if folded else "")
        + f"<p>{escape(DISCLAIMER)}</p></html>\n"
    )


def _row(verdict: Verdict) -> str:
    kind = verdict.outcome.replace(" ", "-")
    text = escape("\n".join(details(verdict)))
    return (
        f"<tr><td>{escape(verdict.check.id)}<td class={kind}>{verdict.outcome}"
        f"<td>{escape(verdict.check.title)}{f'<pre>{text}</pre>' if text else ''}"
        f"<td>{verdict.seconds:.1f}</tr>"
    )
