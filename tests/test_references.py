"""Every document that a comment, a docstring or another document names is in the repository."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OF_THE_SITE = {"index", "ru", "commands", "http", "checks", "metrics", "schema"}
"""Pages that docs/build_site.py makes."""
PLACES = ("", "docs", "docs/notes", "docs/scenarios")


def sources():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    endings = (".py", ".md", ".toml", ".js")
    return [name for name in listed if name.endswith(endings) and (ROOT / name).exists()]


def test_every_named_document_exists():
    names = sources()
    if not names:
        pytest.skip("not a git checkout")
    lost = []
    for name in names:
        for found in re.findall(r"[\w./-]*\w\.md\b", (ROOT / name).read_text(encoding="utf-8")):
            if "site" in name and found.removesuffix(".md") in OF_THE_SITE:
                continue
            bases = [(ROOT / name).parent, *(ROOT / place for place in PLACES)]
            if not any((base / found).exists() for base in bases):
                lost.append(f"{name}: {found}")
    assert lost == []
