"""Judges every planted fault by the whole catalogue, and writes the table of docs/check.md.

``python -m tests.check.fault_table --jobs 4 --results faults.jsonl --write``: each fault runs
against all checks in a process of its own. Exit code 1 when a fault is missed, or found by a check
that isn't of a clause it breaks. It can be stopped, and goes on where it was.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from ctgkit.check.backend.catalogue import BACKEND
from tests.check.benches import failed, judge_mutant, judge_process, judge_reference
from tests.check.naive.faults import FAULTS, GRACE_FAULTS, PROCESS_FAULTS, REFERENCE_FAULTS

PAGE = Path(__file__).parent.parent.parent / "docs" / "check.md"
TIMEOUT_S = 3.0
"""That of ``ctgkit check``: many run at a time."""
GRACE_S = 2.0
START, END = "<!-- faults -->", "<!-- end of faults -->"


ALL = {
    "naive": FAULTS,
    "process": PROCESS_FAULTS,
    "serve": REFERENCE_FAULTS,
    "grace": GRACE_FAULTS,
}


def judged(kind, fault):
    """Judge one fault by the whole catalogue; return what is to be known of it."""
    logging.disable(logging.CRITICAL)  # the library logs what the mutants break
    began_s = time.monotonic()
    checks = BACKEND.select((), strict=False)
    with tempfile.TemporaryDirectory() as name:
        path, more = Path(name), {"timeout_s": TIMEOUT_S}
        match kind:
            case "naive":
                found = asyncio.run(judge_mutant(path, fault, checks, **more))
            case "process":
                found = judge_process(path, fault, checks, **more)
            case "serve":
                found = judge_reference(path, fault, checks, **more)
            case "grace":
                found = judge_reference(path, fault, checks, grace_s=GRACE_S, **more)
    named = ALL[kind][fault]
    odd = {v.check.id for v in found if v.outcome in ("not judged", "blocked")}
    return {
        "kind": kind,
        "fault": fault,
        "found": sorted(failed(found) & named),
        "missed": sorted(named - failed(found)),
        "others": sorted(failed(found) - named),
        "not judged": sorted(odd),
        "seconds": round(time.monotonic() - began_s),
    }


def row(one):
    counted = Counter(c.partition("/")[0] for c in one["found"])
    by = ", ".join(clause + (f" ({n})" if n > 1 else "") for clause, n in counted.items())
    where = "naive" if one["kind"] in ("naive", "process") else "`serve`"
    others = ", ".join(one["others"]) or "–"
    return f"| {one['fault']} | {where} | {by or '**missed**'} | {others} | {one['seconds']} |"


def write(results):
    """Replace the table in docs/check.md."""
    head = ["| fault | in | found by (checks) | others that fail | s |", "|---|---|---|---|---|"]
    known = {(one["kind"], one["fault"]): one for one in results}
    rows = [
        row(known[kind, f]) for kind, faults in ALL.items() for f in faults if (kind, f) in known
    ]
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    table = "\n".join([*head, *rows])
    PAGE.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of faults' names; all without")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--kind", choices=list(ALL), action="append")
    parser.add_argument("--results", type=Path, help="kept here, and not judged again")
    parser.add_argument("--most", type=int, help="judge so many, and leave the rest for later")
    parser.add_argument("--write", action="store_true", help="replace the table in docs/check.md")
    options = parser.parse_args(arguments)
    results = []
    if options.results and options.results.exists():
        results = [json.loads(line) for line in options.results.read_text().splitlines()]
    done = {(one["kind"], one["fault"]) for one in results}
    wanted = [
        (kind, fault)
        for kind in options.kind or ALL
        for fault in ALL[kind]
        if not options.names or any(n in fault for n in options.names)
    ]
    left = [pair for pair in wanted if pair not in done][: options.most]
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        for future in as_completed([pool.submit(judged, *pair) for pair in left]):
            one = future.result()
            results.append(one)
            if options.results:
                with options.results.open("a") as file:
                    file.write(json.dumps(one) + "\n")
            notes = [f"{n} {one[n]}" for n in ("missed", "others", "not judged") if one[n]]
            print(one["kind"], one["fault"], f"{one['seconds']} s", *notes, sep="; ", flush=True)
    wrong = [one["fault"] for one in results if one["missed"] or one["others"]]
    print(f"{len(results)} faults, not as they should be: {wrong or 'none'}")
    if options.write:
        write(results)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
