"""Options: what is refused before anything is sent, and what lets sensors in."""

import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.errors import CtgkitError, Unreachable

NOBODY = "ws://127.0.0.1:9"
SENSOR_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `ctgkit bench` where nothing is configured; return (exit code, what it said)."""
    monkeypatch.chdir(tmp_path)
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    (tmp_path / "token").write_text("right\n")
    (tmp_path / "two-lines").write_text("a\nb\n")

    def go(*arguments):
        result = CliRunner().invoke(cli, ["bench", *arguments])
        if isinstance(result.exception, CtgkitError):
            return result.exception.exit_code, str(result.exception)
        return result.exit_code, result.output

    return go


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["ftp://x", "--any-id"], 2, "'ftp://x' is not http(s)://HOST:PORT"),
        ([NOBODY], 2, "ctgkit init"),
        ([NOBODY, "--token-file", "token"], 2, "--any-id"),
        ([NOBODY, "--any-id", "--sensors", "1,x"], 2, "as in 10,50,100"),
        ([NOBODY, "--any-id", "--sensors", "5", "--min-sensors", "6"], 2, "more than all of"),
        ([NOBODY, "--any-id", "--sensors", "9999999"], 2, "ulimit"),
        ([NOBODY, "--any-id", "--plot", "curve.gif"], 2, "neither .png nor .svg"),
        ([NOBODY, "--any-id", "--token-file", "two-lines"], 4, "not one line"),
        ([NOBODY, "--any-id", "--ml-listen", "here"], 2, "'here' is not HOST:PORT"),
        ([NOBODY, "--any-id", "--token-file", "token"], 3, "a sensor can't connect"),
        ([NOBODY, "--id", SENSOR_ID, "--token-file", "token"], 3, "a sensor can't connect"),
    ],
)
def test_what_is_refused(run, arguments, code, text):
    """Usage, configuration, or nobody there: always one line that says why."""
    got, said = run(*arguments)
    assert (got, text in said) == (code, True), said


def test_a_token_may_come_from_the_environment(run, monkeypatch):
    """As for `ctgkit sensor`."""
    monkeypatch.setenv("CTGKIT_SENSOR_TOKEN", "right")
    assert run(NOBODY)[0] == 2
    assert run(NOBODY, "--id", SENSOR_ID)[0] == Unreachable.exit_code
