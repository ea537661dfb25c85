"""ctgkit.toml: what is read, what is refused, who may read it."""

import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ctgkit.config import (
    default_credentials,
    find_config,
    new_sensors,
    read_config,
    write_config,
)
from ctgkit.errors import ConfigError


@pytest.fixture(autouse=True)
def _private_directories(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def test_what_is_written_is_read(tmp_path):
    """`init` writes what `serve` and `sensor` read; only its owner may read it."""
    sensors = new_sensors(2, control_port=9001)
    write_config(tmp_path / "c.toml", sensors)
    config = read_config(tmp_path / "c.toml")
    assert config.sensors == sensors
    assert config.viewer_token
    assert stat.S_IMODE((tmp_path / "c.toml").stat().st_mode) == 0o600


def test_an_existing_file_is_kept_unless_replaced(tmp_path):
    """A file is never overwritten by accident, and gets mode 0600 when it is on purpose."""
    path = tmp_path / "c.toml"
    path.write_text("# precious")
    with pytest.raises(ConfigError, match="exists already"):
        write_config(path, new_sensors(1))
    assert path.read_text() == "# precious"
    write_config(path, new_sensors(1), replace=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


ID = "00000000-0000-0000-0000-000000000000"
SENSOR = f"[[sensors]]\nid='{ID}'\n"


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("x = ", "", "Invalid value"),
        ("colour = 1", "", "unknown key 'colour'"),
        ("viewer_tokn = 'x'", "", "did you mean 'viewer_token'"),
        ("sensors = 1", "sensors", "expected a list"),
        ("[sensors]\nid = 'x'", "sensors", "expected a list, got a table"),
        ("[[sensors]]\nid='x'\ntoken='t'", "sensors[0].id", "not a UUID"),
        (f"[[sensors]]\nid='{{{ID}}}'", "sensors[0].id", "not a UUID"),
        (f"[[sensors]]\nid='{ID[:-1]}\uff10'", "sensors[0].id", "not a UUID"),
        ("[[sensors]]\ntoken='t'", "sensors[0]", "id is missing"),
        (SENSOR + "control='10.0.0.1:80/x?'", "sensors[0].control", "is not HOST:PORT"),
        (SENSOR + "control='user@host:80'", "sensors[0].control", "is not HOST:PORT"),
        (SENSOR + "control='host:٨٠'", "sensors[0].control", "is not HOST:PORT"),
        (SENSOR + "control='host:70000'", "sensors[0].control", "is not HOST:PORT"),
        (SENSOR + "control='host:0'", "sensors[0].control", "is not HOST:PORT"),
        (SENSOR + "token=''", "sensors[0].token", "a string that is not empty"),
        (SENSOR + 'token="a\\nb"', "sensors[0].token", "one line of plain text"),
        (SENSOR + "token='é'", "sensors[0].token", "one line of plain text"),
        (SENSOR + 'bed="\\u001b[2J"', "sensors[0].bed", "unprintable"),
        (SENSOR + "tokn='t'", "sensors[0]", "unknown key 'tokn'"),
        (SENSOR + "bed=5", "sensors[0].bed", "expected `str`, got `int`"),
        (SENSOR + SENSOR + "bed=[]", "sensors[1].bed", "got a list"),
        ("viewer_token = ''", "viewer_token", "not empty"),
        ("viewer_token = 5", "viewer_token", "expected `str`, got `int`"),
        ("viewer_token = 'é'", "viewer_token", "one line of plain text"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, place, reason):
    """Each mistake is refused with the file's name, the place and what is wrong."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(reason)) as error:
        read_config(path)
    assert str(error.value).startswith(f"{path}, {place}: " if place else f"{path}: ")


def test_what_is_printed_of_a_configuration_holds_no_token(tmp_path):
    """Nor does a traceback that shows it."""
    path = tmp_path / "c.toml"
    path.write_text("viewer_token = 'hidden'\n" + SENSOR + "token = 'hidden'\n")
    config = read_config(path)
    assert config.viewer_token == config.sensors[0].token == "hidden"
    assert "hidden" not in repr(config)


@pytest.mark.parametrize(
    ("mode", "secret", "outcome"),
    [
        (0o600, True, "quiet"),
        (0o400, True, "quiet"),
        (0o640, True, "warned"),
        (0o644, True, "warned"),
        (0o660, True, "refused"),
        (0o602, True, "refused"),
        (0o644, False, "quiet"),
        (0o664, False, "quiet"),
        (0o666, False, "refused"),
    ],
)
def test_a_file_that_others_may_read_or_write(tmp_path, caplog, mode, secret, outcome):
    """Whoever may write it decides what runs; whoever may read it has the tokens."""
    path = tmp_path / "c.toml"
    path.write_text("[serve]\nport = 1\n" + (SENSOR + "token='t'" if secret else ""))
    if os.geteuid() == 0:
        os.chown(path, -1, 12345)
    elif mode & 0o060:
        pytest.skip("the group of the user is his own")
    path.chmod(mode)
    if outcome == "refused":
        with pytest.raises(ConfigError, match=f"others can write it \\(mode {mode:04o}\\)"):
            read_config(path)
    else:
        read_config(path)
    assert ("others can read it" in caplog.text) == (outcome == "warned")


def test_a_group_of_ones_own_is_nobody_else(tmp_path, caplog):
    """With the umask 0002 of many systems a file is writable for it."""
    path = tmp_path / "c.toml"
    path.write_text(SENSOR + "token='t'")
    path.chmod(0o660)
    if path.group() != path.owner():
        pytest.skip("this user has no group of his own")
    assert read_config(path).sensors
    assert caplog.text == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user():
    """One that lies where we look is not ours to obey: anybody could have put it into /tmp."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "c.toml"
        path.write_text("[serve]\nport = 1\n")
        os.chown(path, 12345, 12345)
        read_config(path)  # in containers root reads the files of whoever mounted them
        code = (
            "import codecs, os, pathlib; from ctgkit.config import read_config;"
            "codecs.lookup('utf-8-sig'); os.setuid(54321);"
            f"read_config(pathlib.Path({str(path)!r}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
    assert "c.toml: belongs to another user: refused" in done.stderr


def test_two_sensors_with_one_id(tmp_path):
    """The same id twice, in whatever case, is a mistake."""
    entry = "[[sensors]]\nid='{}'\ntoken='t'\n"
    path = tmp_path / "c.toml"
    upper = "AAAAAAAA-0000-0000-0000-000000000000"
    path.write_text(entry.format(upper) + entry.format(upper.lower()))
    with pytest.raises(ConfigError, match="same id"):
        read_config(path)


def test_search_order(tmp_path):
    """The named file, then ./ctgkit.toml, then the user's; none is fine too."""
    assert find_config(None).path is None
    with pytest.raises(ConfigError):
        find_config(tmp_path / "missing.toml")
    user = tmp_path / "config" / "ctgkit"
    user.mkdir(parents=True)
    (user / "ctgkit.toml").write_text("[serve]\nport = 1")
    assert find_config(None).commands == {"serve": {"port": 1}}
    (tmp_path / "ctgkit.toml").write_text("[serve]\nport = 2")
    assert find_config(None).commands == {"serve": {"port": 2}}


def test_default_credentials_are_made_once():
    """serve makes them, sensor finds them, a second serve keeps them."""
    assert default_credentials(create=False).sensors == ()
    made = default_credentials(create=True)
    assert len(made.sensors) == 3
    assert default_credentials(create=True).sensors == made.sensors
    assert default_credentials(create=False).sensors == made.sensors
