"""Programs that a test starts, and that end with it however it goes."""

import contextlib
import os
import signal
import subprocess


@contextlib.contextmanager
def started(*command, **how):
    """Start a program, its output in pipes; in the end it is killed with all that it started."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    words = [str(word) for word in command]
    with subprocess.Popen(words, start_new_session=True, **piped | how) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
