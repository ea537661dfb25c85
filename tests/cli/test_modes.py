"""What commands write holds measurements: nobody else may read it, whatever the umask is."""

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.errors import RecordingError
from tests.extras import need
from tests.server.parties import acked, backend_on, message, sensor

WRITES = {
    "generate csv": ["generate", "--duration", "10", "--out", "OUT.csv"],
    "generate csv.gz": ["generate", "--duration", "10", "--out", "OUT.csv.gz"],
    "generate npz": ["generate", "--duration", "10", "--out", "OUT.npz"],
    "generate native": ["generate", "--duration", "10", "--out", "OUT.jsonl"],
    "generate edf": ["generate", "--duration", "10", "--out", "OUT.edf"],
    "generate wfdb": ["generate", "--duration", "10", "--out", "OUT.hea"],
    "generate parquet": ["generate", "--duration", "10", "--out", "OUT.parquet"],
    "truth": ["generate", "--duration", "10", "--out", "x.csv", "--truth", "OUT.jsonl"],
    "several": ["generate", "--duration", "10", "--sensors", "2", "--out", "OUT.csv"],
    "convert": ["convert", "in.csv", "OUT.csv.gz", "--force"],
    "convert to pairs": ["convert", "in.csv", "OUT"],
    "analyze": ["analyze", "in.csv", "--out", "OUT.json"],
    "paper pdf": ["paper", "in.csv", "--out", "OUT.pdf"],
    "paper png": ["paper", "in.csv", "--out", "OUT.png"],
    "paper svg": ["paper", "in.csv", "--out", "OUT.svg"],
    "init": ["init", "--force"],
    "exam csv": ["exam", "export", "1", "--store", "sqlite:///ctg.db", "--out", "OUT.csv"],
    "exam json": ["exam", "export", "1", "--store", "sqlite:///ctg.db", "--out", "OUT.json"],
    "exam npz": ["exam", "export", "1", "--store", "sqlite:///ctg.db", "--out", "OUT.npz"],
}
NEEDS = {"edf": "edfio", "wfdb": "wfdb", "parquet": "pyarrow", "pdf": "matplotlib",
         "png": "matplotlib", "svg": "matplotlib"}  # fmt: skip


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    before = os.umask(0)
    yield
    os.umask(before)


def run(arguments):
    done = CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False)
    return done.return_value or 0


def written(folder, known):
    """Return the mode of each file and folder that is new.

    Databases have a test of their own; matplotlib makes its own folder, where it is used first.
    """
    new = set(folder.rglob("*")) - known
    return {
        p: stat.S_IMODE(p.stat().st_mode)
        for p in new
        if not p.relative_to(folder).parts[0].startswith(("ctg.db", "home"))
    }


def expected(path):
    return 0o700 if path.is_dir() else 0o600


async def store_one(tmp_path):
    async with backend_on(tmp_path / "ctg.db") as backend, sensor(backend) as client:
        for n in range(1, 5):
            await client.send(message(n))
        await acked(client, 4)


@pytest.mark.parametrize(("name", "arguments"), WRITES.items(), ids=WRITES)
async def test_files_are_their_owners(tmp_path, name, arguments):
    """New ones get mode 0600, folders 0700; one that is replaced gets it as well."""
    need(NEEDS.get(name.split()[-1], "click"))
    (tmp_path / "in.csv").write_text("sec,bpm,uc\n0,140,1\n0.25,141,1\n0.5,141,1\n60,140,2\n")
    if name.startswith("exam"):
        await store_one(tmp_path)
    known = set(tmp_path.rglob("*"))
    assert run(arguments) == 0
    made = written(tmp_path, known)
    assert made
    assert made == {path: expected(path) for path in made}
    if name in ("init", "convert to pairs"):
        return  # refuses a file that others may write; makes names of its own
    for path in made:
        path.chmod(0o666)
    run([*arguments, "--force"] if name.startswith("exam") else arguments)
    assert set(written(tmp_path, known).values()) == {0o600}
    assert os.umask(0) == 0


async def test_an_export_replaces_nothing_by_itself(tmp_path):
    """As `convert`, `record` and `init`."""
    await store_one(tmp_path)
    for name in ("e.csv", "e.json", "e.npz"):
        out = tmp_path / name
        out.write_text("precious")
        export = ["exam", "export", "1", "--store", "sqlite:///ctg.db", "--out", name]
        with pytest.raises(RecordingError, match=f"{name}.*exists already; --force replaces it"):
            run(export)
        assert out.read_text() == "precious"
        run([*export, "--force"])
        assert out.read_bytes() != b"precious"


def test_pipes_and_devices_keep_their_mode(tmp_path):
    """Somebody may read a FIFO, and /dev/null belongs to everybody."""
    (tmp_path / "in.csv").write_text("sec,bpm,uc\n0,140,1\n60,140,2\n")
    before = Path("/dev/null").stat().st_mode
    run(["analyze", "in.csv", "--out", "/dev/null"])
    assert Path("/dev/null").stat().st_mode == before
