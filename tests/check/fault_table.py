"""Judges every planted fault by the whole catalogue, and writes the table of docs/check.md.

``python -m tests.check.fault_table [--jobs 4] [--write] [PART OF A FAULT'S NAME …]``: each
fault runs against all checks in a process of its own. With ``--write`` the table in
docs/check.md is replaced by what was found. Exit code 1 when a fault is missed, or found by a
check that isn't of a clause it breaks.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from ctgkit.check.backend.catalogue import BACKEND
from tests.check.benches import failed, judge_mutant, judge_process
from tests.check.naive.faults import FAULTS, PROCESS_FAULTS

PAGE = Path(__file__).parent.parent.parent / "docs" / "check.md"
TIMEOUT_S = 3.0
"""That of ``ctgkit check``: many run at a time."""
START, END = "<!-- faults -->", "<!-- end of faults -->"


def judged(fault):
    """Return (fault, what its checks are, which failed, what was not judged, seconds)."""
    logging.disable(logging.CRITICAL)  # the library logs what the mutants break
    began_s = time.monotonic()
    checks = BACKEND.select((), strict=False)
    with tempfile.TemporaryDirectory() as name:
        if fault in PROCESS_FAULTS:
            named = PROCESS_FAULTS[fault]
            found = judge_process(Path(name), fault, checks, timeout_s=TIMEOUT_S)
        else:
            named = FAULTS[fault]
            judging = judge_mutant(Path(name), fault, checks, timeout_s=TIMEOUT_S)
            found = asyncio.run(judging)
    odd = {v.check.id for v in found if v.outcome in ("not judged", "blocked")}
    return fault, named, failed(found), odd, time.monotonic() - began_s


def clauses(checks):
    return sorted({c.partition("/")[0] for c in checks})


def row(fault, named, found, seconds):
    counted = Counter(c.partition("/")[0] for c in named & found)
    by = ", ".join(f"{clause}" + (f" ({n})" if n > 1 else "") for clause, n in counted.items())
    others = ", ".join(sorted(found - named)) or "–"
    return f"| {fault} | {by or '**missed**'} | {others} | {seconds:.0f} |"


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--after", default="", help="begin with this fault, then the rest")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    faults = [
        f
        for f in [*FAULTS, *PROCESS_FAULTS]
        if not options.names or any(n in f for n in options.names)
    ]
    if options.after in faults:
        at = faults.index(options.after)
        faults = faults[at:] + faults[:at]
    rows, wrong = {}, 0
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        for done in as_completed(pool.submit(judged, fault) for fault in faults):
            fault, named, found, odd, seconds = done.result()
            rows[fault] = row(fault, named, found, seconds)
            missing, others = named - found, found - named
            wrong += bool(missing or others)
            notes = [("missed by", missing), ("also", others), ("not judged", odd)]
            print(fault, f"{seconds:.0f} s", *(f"{n} {sorted(w)}" for n, w in notes if w), sep="; ")
            sys.stdout.flush()
    print(f"{len(faults)} faults, {wrong} not as they should be")
    if options.write:
        head = ["| fault | found by (checks) | others that fail | s |", "|---|---|---|---|"]
        table = "\n".join([*head, *(rows[f] for f in faults)])
        before, _, rest = PAGE.read_text().partition(START)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
