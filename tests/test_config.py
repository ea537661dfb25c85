"""ctgkit.toml: what is read, what is refused, who may read it."""

import stat

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


SENSOR = "[[sensors]]\nid='00000000-0000-0000-0000-000000000000'\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = ", "Invalid value"),
        ("colour = 1", "unknown key 'colour'"),
        ("sensors = 1", r"\[\[sensors\]\]"),
        ("[[sensors]]\nid='x'\ntoken='t'", "not a UUID"),
        ("[[sensors]]\ntoken='t'", "id is missing"),
        (SENSOR + "control='10.0.0.1:80/x?'", "control is not HOST:PORT"),
        (SENSOR + "control='user@host:80'", "control is not HOST:PORT"),
        ("[[sensors]]\nid='00000000-0000-0000-0000-000000000000'\ntoken=''", "token must be"),
        ("[[sensors]]\nid='00000000-0000-0000-0000-000000000000'\ntokn='t'", "'tokn'"),
        ("viewer_token = ''", "viewer_token"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, reason):
    """Each mistake is refused with the file's name and what is wrong."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason) as error:
        read_config(path)
    assert str(path) in str(error.value)


def test_what_is_printed_of_a_configuration_holds_no_token(tmp_path):
    """Nor does a traceback that shows it."""
    path = tmp_path / "c.toml"
    path.write_text("viewer_token = 'hidden'\n" + SENSOR + "token = 'hidden'\n")
    config = read_config(path)
    assert config.viewer_token == config.sensors[0].token == "hidden"
    assert "hidden" not in repr(config)


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
