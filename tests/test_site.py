"""The documentation as a site: every page has its place, every link leads somewhere."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILD = [sys.executable, str(ROOT / "docs" / "build_site.py")]
NAV = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_every_document_is_in_the_navigation():
    """Whoever adds a page adds it there."""
    named = set(re.findall(r": (\S+\.md)$", NAV, re.MULTILINE))
    for page in (ROOT / "docs").rglob("*.md"):
        inner = page.relative_to(ROOT / "docs").as_posix()
        assert inner in named or inner == "scenarios/intro.md"


@pytest.mark.slow
def test_pages_and_the_reference_are_laid_out(tmp_path):
    """Without the generator; commands, checks, faults, scenarios, metrics, HTTP paths are there."""
    subprocess.run([*BUILD, "--pages-only", tmp_path], check=True)
    site = tmp_path / "site-source"
    for page in site.rglob("*.md"):
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in LINK.findall(re.sub(r"`[^`]*`", "", text)):
            address = target.partition("#")[0]
            if address and "://" not in address:
                assert (page.parent / address).exists(), f"{page.relative_to(site)}: {target}"
    expected = {
        "commands.md": "ctgkit exam export", "checks.md": "S-4.1", "faults.md": "partition",
        "scenarios.md": "late-decels-severe", "metrics.md": "ctgkit_samples_accepted_total",
        "http.md": "/api/examinations", "python.md": "run_backend", "schema.md": "openapi",
    }  # fmt: skip
    for name, said in expected.items():
        assert said in (site / "reference" / name).read_text()


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("material"), reason="needs the docs extra")
def test_the_site_is_built_without_a_warning(tmp_path):
    """As `make docs` does; its search works from a file, too."""
    subprocess.run([*BUILD, "--out", tmp_path / "site"], check=True)
    assert (tmp_path / "site" / "index.html").exists()
    assert (tmp_path / "site" / "search" / "search_index.js").exists()
