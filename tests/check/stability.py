"""Ten runs of ``ctgkit check`` against one backend: are the verdicts the same?

``python -m tests.check.stability TARGET [RUNS]`` with TARGET one of ``serve``, ``serve-slow``
(a disk that needs 30 ms per flush; needs a C compiler), ``naive`` and ``hasty`` (the naive backend
that commits per row, without a busy timeout, and broadcasts to one viewer after the other),
``fault:NAME``, or ``all`` for the four, one after the other; the table's rows come last.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.check.benches import LIMIT, naive_config
from tests.ports import free_port

RUN_MAX_S = 1800
TARGETS = {
    "serve": "`ctgkit serve`",
    "serve-slow": "`ctgkit serve`, 30 ms more per flush, nice 10",
    "naive": "the naive backend, commit per row, synchronous FULL",
    "hasty": "the same with a connection per write, no busy timeout, one viewer after the other",
}
ROOT = Path(__file__).parent.parent.parent
SLOW_FLUSH = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int later(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    usleep(30000);
    return real(fd);
}
int fsync(int fd) { return later("fsync", fd); }
int fdatasync(int fd) { return later("fdatasync", fd); }
"""


def slow_flush(directory):
    """Return the environment in which every flush to the disk takes 30 ms more."""
    source, library = directory / "slow.c", directory / "slow.so"
    source.write_text(SLOW_FLUSH)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return f"LD_PRELOAD={library}"


def command_of(target, directory):
    """Return the command that runs the backend, its port, its database and its ML port."""
    port = free_port()
    more = {"port": port, "sync": "FULL"}
    config, entries = naive_config(directory, "stable", **more)
    ml_port = config["ml"].rpartition(":")[2].partition("/")[0]
    text = "".join(
        f'[[sensors]]\nid = "{s.id}"\ntoken = "{s.token}"\ncontrol = "{s.control}"\n'
        for s in entries
    )
    (directory / "ctgkit.toml").write_text(text)
    (directory / "ctgkit.toml").chmod(0o600)
    store = config["store"]
    if target.startswith("serve"):
        prefix = f"env {slow_flush(directory)} nice -n 10 " if target == "serve-slow" else ""
        serve = [sys.executable, "-m", "ctgkit", "serve", "--port", str(port), "--ml", config["ml"]]
        serve += ["--ml-retry", "0.5", "--store", f"sqlite:///{store}"]
        return prefix + shlex.join([*serve, "--max-connections", str(LIMIT)]), port, store, ml_port
    fault = {"naive": "", "hasty": "naive"}.get(target, target.removeprefix("fault:"))
    file = directory / "config.json"
    file.write_text(json.dumps(config))
    naive = [sys.executable, "-m", "tests.check.naive", str(file), *fault.split()]
    return f"env PYTHONPATH={ROOT} {shlex.join(naive)}", port, store, ml_port


def one_run(target):
    """Return {check: outcome}, and how long it took."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        command, port, store, ml_port = command_of(target, directory)
        Path(store).touch()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ctgkit", "check", "backend", f"http://127.0.0.1:{port}"),
                *("--run", command, "--store", f"sqlite:///{store}", "--json"),
                *("--ml-listen", f"127.0.0.1:{ml_port}", "--max-connections", str(LIMIT)),
            ],
            cwd=directory,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            timeout=RUN_MAX_S,
            check=False,
        )
        if not done.stdout:
            raise RuntimeError(done.stderr)
        report = json.loads(done.stdout)
        return report, done.returncode


def main(target, runs):
    """Judge one target, or the four; print the rows for the table in docs/check.md."""
    targets = TARGETS if target == "all" else {target: target}
    rows = [f"| {name} | {judged(one, runs)} |" for one, name in targets.items()]
    print("\n".join(["", *rows]))


def judged(target, runs):
    """Print what some runs say about a target; return its row of the table."""
    outcomes, times, actual = {}, [], {}
    for n in range(runs):
        try:
            report, code = one_run(target)
        except (RuntimeError, subprocess.TimeoutExpired) as error:  # the others go on
            print(f"run {n + 1}: {error}", flush=True)
            continue
        times.append(report["seconds"])
        for v in report["verdicts"]:
            outcomes.setdefault(v["id"], []).append(v["outcome"])
            if v["outcome"] not in ("pass", "skipped"):
                actual[v["id"]] = v["actual"]
        print(f"run {n + 1}: exit {code}, {report['counts']}, {report['seconds']} s", flush=True)
    if not times:
        return f"0 of {runs} | – | no run came to an end"
    flips = {i: Counter(o) for i, o in outcomes.items() if len(set(o)) > 1}
    steady = Counter(o[0] for o in outcomes.values() if len(set(o)) == 1)
    print(f"{target}: {runs} runs, {min(times):.0f} to {max(times):.0f} s; steady: {dict(steady)}")
    print(f"different verdicts: {len(flips)}")
    for check_id, counted in flips.items():
        print(f"  {check_id}: {dict(counted)}; {actual.get(check_id, '')[:200]}")
    for check_id, seen in outcomes.items():
        if check_id not in flips and seen[0] not in ("pass", "skipped"):
            print(f"  always {seen[0]}: {check_id}: {actual[check_id][:160]}")

    always = Counter(o[0] for o in outcomes.values() if len(set(o)) == 1)
    said = ", ".join(f"{n} {outcome}" for outcome, n in always.items())
    differed = ", ".join(flips) or "none"
    took = f"{min(times):.0f} to {max(times):.0f}"
    return f"{len(times)} | {took} | {differed} of {len(outcomes)}: {said}"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10)
