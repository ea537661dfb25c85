"""The tutorials, followed line by line in a shell, with the files that they show."""

import re
import shutil
from pathlib import Path

import pytest

from tests.shell import Shell, command_of, own_network

ROOT = Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("document", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_can_be_followed(document, tmp_path):
    """Every command in its order, every file where it is told to be saved."""
    if own_network() is None:
        pytest.skip("no network of our own can be made: the tutorials use fixed ports")
    if "curl" in document.read_text() and not shutil.which("curl"):
        pytest.skip("no curl")
    shell, folder = Shell(tmp_path), tmp_path
    try:
        shell.run(". venv/bin/activate")
        for kind, title, text in BLOCK.findall(document.read_text()):
            if title:
                (folder / title).write_text(text)
            for line in map(command_of, text.splitlines() if kind == "sh" else ()):
                code, said = shell.run(line)
                assert code == 0, f"{line}\n{said[-3000:]}"
                assert "Traceback" not in said, f"{line}\n{said[-3000:]}"
                if line.startswith("mkdir"):
                    folder = tmp_path / document.stem
                    folder = folder if folder.exists() else next(tmp_path.glob("res*"))
    finally:
        shell.close()
