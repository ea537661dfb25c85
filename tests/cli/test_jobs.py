"""``--jobs``: what many processes make is what one makes, in the same order."""

import subprocess
import sys

import pytest

from ctgkit.cli.jobs import in_order
from ctgkit.errors import RecordingError


def halved(number):
    """Return half of an even number."""
    if number % 2:
        raise RecordingError(f"{number}.csv", number, "is odd")
    return number // 2


def test_results_come_in_the_order_of_the_things():
    things = list(range(0, 40, 2))
    assert list(in_order(halved, things, 2)) == list(range(20))


def test_an_error_is_raised_where_it_belongs_and_whole():
    results = in_order(halved, [2, 4, 5, 6], 2)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(RecordingError, match=r"5.csv, line 5: is odd"):
        next(results)


@pytest.mark.slow
def test_files_reports_and_scores_are_the_same(tmp_path):
    def ctgkit(*arguments):
        command = [sys.executable, "-m", "ctgkit", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    said = {}
    for jobs in ("1", "2"):
        folder = tmp_path / jobs
        where = ("--out", f"{jobs}/s.csv", "--truth", f"{jobs}/s.jsonl", "--jobs", jobs)
        ctgkit("generate", "--sensors", "3", "--duration", "20min", *where)
        files = sorted(file.name for file in folder.iterdir())
        made = [(folder / name).read_bytes() for name in files]
        reports = ctgkit("analyze", f"{jobs}/s-0.csv", f"{jobs}/s-2.csv", "--json", "--jobs", jobs)
        said[jobs] = files, made, reports, ctgkit("score", jobs, "--json", "--jobs", jobs)
    assert said["1"] == said["2"]
    assert len(said["1"][2].splitlines()) == 2
