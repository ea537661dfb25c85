"""``python -m benchmarks [NAME…]``: ratios against floors measured in the same run."""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from benchmarks.measure import Options, as_markdown, as_text, machine

PARTS = ("startup", "ingest", "store", "latency", "fanout", "fleet", "memory", "scale", "signal",
         "analysis", "flood", "profile", "postgres", "bus", "page")  # fmt: skip


def main():
    """Measure, print the table, and return 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--repeat", type=int, default=3, help="of each pair, alternated")
    parser.add_argument("--quick", action="store_true", help="only prove that they work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="for comparison over time")
    parser.add_argument("--markdown", action="store_true", help="as in docs/performance.md")
    parser.add_argument("--profile", action="store_true", help="where ingest spends its time")
    parser.add_argument("--directory", type=Path, help="where databases go: which disk")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the curve goes")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(PARTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    if arguments.profile:
        from benchmarks.hotspots import where

        print(where(arguments.directory))
        return 0
    options = Options(
        repeat=1 if arguments.quick else arguments.repeat,
        quick=arguments.quick,
        directory=arguments.directory,
        out=arguments.out,
    )
    figures = []
    for name in arguments.names or PARTS:
        started = time.perf_counter()
        figures += importlib.import_module(f"benchmarks.{name}").measure(options)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    print(as_markdown(figures) if arguments.markdown else as_text(figures))
    if arguments.json:
        measured = {"machine": machine(), "figures": [f.as_dict() for f in figures]}
        arguments.json.write_text(json.dumps(measured, indent=1) + "\n")
    return int(any(figure.verdict == "missed" for figure in figures) and not arguments.quick)


sys.exit(main())
