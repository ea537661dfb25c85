"""Runs `ctgkit` many times: imports once, forks for each command line read from stdin.

Each line is JSON: {"argv": […], "env": {…}, "limit_s": seconds}. For each one line comes back:
{"code": exit code or -signal, "out": …, "err": …}. A run that serves is ended with SIGTERM after
its time, one that still doesn't end is killed (code -9).
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import time

from ctgkit.cli import main as command_line


def preload():
    for target, _ in command_line.COMMANDS.values():
        importlib.import_module(target.partition(":")[0])


def child(case, out, err):
    os.environ.update(case["env"])
    os.dup2(os.open(case.get("stdin") or os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.argv = ["ctgkit", *case["argv"]]
    code = 70
    try:
        command_line.main()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid, until_s, out=None):
    """Return how it ended; None when it didn't in time, or serves: it has printed its address."""
    while time.monotonic() < until_s and not (out and b"://" in os.pread(out.fileno(), 99, 0)):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def run(case):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            child(case, out, err)
        code = wait(pid, time.monotonic() + case["limit_s"], out)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if code is None:
                os.kill(pid, number)
                code = wait(pid, time.monotonic() + 20)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode("utf-8", "surrogateescape"))
    return {"code": code, "out": said[0], "err": said[1]}


if __name__ == "__main__":
    preload()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
