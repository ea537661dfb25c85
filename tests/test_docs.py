"""The documents say what the program does, and what they show runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ctgkit.cli.main import COMMANDS
from tests.shell import command_of, sh_lines

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SECTION = (
    (ROOT / "docs/testing.md").read_text().partition("## A first test")[2].partition("\n## ")[0]
)
PROTOCOL = (ROOT / "PROTOCOL.md").read_text()
THREATS = (ROOT / "SECURITY.md").read_text().split("## Threats")[1].split("\n## ")[0]
CLAUSE = re.compile(r"\b[SMVHC]-\d+(?:\.\d+)?\b")


def sh_commands(document):
    """Return the words of each call of ctgkit in the ``sh`` blocks of a document."""
    calls = []
    for line in map(command_of, sh_lines(document.read_text())):
        for part in re.split(r"\s(?:&&|\|\|?|&|;|>)(?:\s|$)|\$\(|\)", line):
            words = shlex.split(part, posix=True) if part.count("'") % 2 == 0 else []
            if words and words[0].rpartition("/")[2] == "ctgkit":
                calls.append(words)
    return calls


def defined_clauses():
    return re.findall(r"^- \*\*([SMVHC]-\d+\.\d+)\*\*", PROTOCOL, re.MULTILINE)


def test_every_command_is_in_the_readme():
    """Whoever reads the README has met every command."""
    for name in COMMANDS:
        assert f"ctgkit {name}" in README


PYTHON = (ROOT / "docs" / "python.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PYTHON, re.DOTALL))
def test_python_in_the_documents_runs(block, tmp_path):
    """Every block is a program that ends well."""
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, timeout=110, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_first_test_of_the_documents_fails_and_then_passes(tmp_path):
    """As it says, and for the reason that it says."""
    failing, repaired = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    head, _, rest = failing.partition("def mean_rate")
    passing = head + repaired + "\n\n" + rest[rest.index("@pytest") :]
    (tmp_path / "test_failing.py").write_text(failing)
    (tmp_path / "test_passing.py").write_text(passing)
    command = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir=."]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=110, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert "1 failed, 1 passed" in done.stdout
    assert re.search(r"^E +TypeError: .*'NoneType'", done.stdout, re.MULTILINE)
    assert "FAILED test_failing.py" in done.stdout


def test_local_links_lead_somewhere():
    """No document points at a file that isn't there."""
    for document in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").glob("*.md"),
    ]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_fault_has_its_test():
    """docs/robustness.md promises only what a test shows."""
    promised = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "robustness.md").read_text())
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(promised) > 30
    assert set(promised) <= written


def test_clauses_are_unique():
    """An address means one clause."""
    clauses = defined_clauses()
    assert len(clauses) > 40
    assert len(set(clauses)) == len(clauses)


def test_clauses_that_code_refers_to_exist():
    """A comment that cites a clause cites an existing one, or a whole section."""
    known = set(defined_clauses()) | {c.split(".")[0] for c in defined_clauses()}
    known |= set(re.findall(r"^### ([SMVHC]-\d+)", PROTOCOL, re.MULTILINE))
    for path in (ROOT / "ctgkit").rglob("*.py"):
        cited = {c for line in path.read_text().splitlines() if "PROTOCOL" in line
                 for c in CLAUSE.findall(line)}  # fmt: skip
        assert cited <= known, f"{path}: {cited - known}"


def test_every_threat_names_tests_that_exist():
    """Each row of the table says what is done, and which test shows it."""
    rows = re.findall(r"^\| (.+) \| (.+) \| (.*) \|$", THREATS, re.MULTILINE)[1:]
    assert len(rows) > 30
    for threat, defence, tests in rows:
        names = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert names or "`make audit`" in defence, threat
        for path, name in names:
            text = (ROOT / path).read_text()
            assert re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE), f"{path}::{name}"


def test_the_test_command_of_the_readme_is_what_ci_runs():
    """.ci/run takes its commands from the README."""
    assert "run_readme_command 2" in (ROOT / ".ci" / "run").read_text()
    assert README.count("\npython3 -m venv") == 2
