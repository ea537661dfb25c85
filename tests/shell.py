"""A shell on a terminal of its own, for documents that are followed line by line.

What its commands do with ports stays within it where the system lets us make a network of our own.
"""

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PROMPT = "<ready>"
LINE_S = 240.0
"""How long a line may take; a loaded machine takes its time."""
SEEN = b" bpm "
"""What a view writes beside a patient's heart rate."""
NETWORKS = (["unshare", "--net"], ["unshare", "--map-root-user", "--net"])


def sh_lines(document):
    """Return the lines of the document's ``sh`` blocks, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]


def command_of(line):
    """Return a line without the remark at its end."""
    return re.sub(r"(^|\s+)#\s.*$", "", line).strip()


def own_network():
    """Return what runs a command in an empty network with loopback; None where that can't be."""
    for prefix in NETWORKS if shutil.which("unshare") and shutil.which("ip") else ():
        command = [*prefix, "ip", "link", "set", "lo", "up"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return prefix
    return None


class Shell:
    """An interactive bash in a folder.

    Parameters
    ----------
    folder : Path
        Where it begins; ``venv`` in it leads to the environment of this test.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "venv").symlink_to(sys.prefix)
        home = folder / "home"
        home.mkdir()
        network = own_network()
        begin = "ip link set lo up; " if network else ""
        begin += f"PS1='{PROMPT}' exec bash --norc --noprofile -i"
        argv = [*(network or []), "bash", "-c", begin]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # pragma: no cover
            os.chdir(folder)
            system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            env = {"HOME": str(home), "PATH": system, "TERM": "xterm-256color"}
            os.execvpe(argv[0], argv, env)
        self.said = b""
        self._until(PROMPT.encode(), 60.0)
        self.run("bind 'set enable-bracketed-paste off' 2>/dev/null; stty -echo cols 120 rows 40")

    def _until(self, sign: bytes, within_s: float) -> bytes:
        """Read until *sign* is there."""
        ends_s = time.monotonic() + within_s
        seen = b""
        while sign not in seen:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, ends_s - time.monotonic()))
            assert ready, f"{sign!r} did not come, but {(self.said + seen)[-2000:]!r}"
            seen += os.read(self.fd, 65536)
        self.said += seen
        return seen

    def run(self, line: str, *, quits: bool = False) -> tuple[int, str]:
        """Type a line, press q once a view shows a patient if it says so, and wait for its end.

        Returns
        -------
        tuple
            The exit code, and what it wrote.
        """
        os.write(self.fd, f"{line}\n".encode())
        if quits:
            self._until(SEEN, LINE_S)
            os.write(self.fd, b"q")
        said = self._until(PROMPT.encode(), LINE_S)
        os.write(self.fd, b"echo ended-with=$?\n")
        code = re.search(rb"ended-with=(\d+)", self._until(PROMPT.encode(), 60.0))
        assert code is not None
        return int(code[1]), said.decode("utf-8", "replace")

    def close(self) -> None:
        """End the shell and whatever still runs in its session."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has just ended
                session = int(stat.read_text().rpartition(")")[2].split()[3])
                if session == self.pid:
                    os.kill(int(stat.parent.name), signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)
