"""``python -m benchmarks``: every benchmark, one after another, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

NOT_SPEED = {"realism.py"}  # `make realism` runs it: minutes, and it needs the recordings


def main() -> int:
    """Run them all; return the number of those that failed."""
    failed = 0
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        if path.name not in NOT_SPEED:
            print(f"== {path.stem}", flush=True)
            command = [sys.executable, "-m", f"benchmarks.{path.stem}"]
            failed += subprocess.run(command, check=False).returncode != 0
    return failed


sys.exit(main())
