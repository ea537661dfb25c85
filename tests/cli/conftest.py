"""Command lines in forks of one process that has imported everything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import started


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    """Run command lines in forks of one process that has imported everything."""
    home = tmp_path_factory.mktemp("forks")
    rows = "".join(f"{n / 4},140,10\n" for n in range(40))
    (home / "in.csv").write_text("sec,bpm,uc\n" + rows)
    made = ["generate", "--duration", "10", "--out", "in.jsonl", "--truth", "truth.jsonl"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "XDG_STATE_HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with started(
        *(sys.executable, Path(__file__).with_name("forks.py")),
        stdin=subprocess.PIPE, stderr=None, cwd=home, env=environment,
    ) as process:  # fmt: skip

        def run(argv, env=(), limit_s=1.0, stdin=None):
            case = {"argv": argv, "env": dict(env), "limit_s": limit_s, "stdin": stdin}
            process.stdin.write(json.dumps(case) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        run.home = home
        assert run(made, limit_s=30)["code"] == 0
        (home / "credentials").mkdir()
        yield run
        process.stdin.close()
        process.wait(timeout=60)
