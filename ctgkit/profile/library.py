"""Where profiles are found: in the package, or in a file of the user's; and their secrets."""

import os
from importlib.resources import files
from pathlib import Path

from ctgkit.errors import ConfigError, near
from ctgkit.profile.model import Profile, parse_profile
from ctgkit.profile.render import Renderer


def profile_names() -> list[str]:
    """Return the names of the shipped profiles, sorted."""
    shapes = files("ctgkit.profile").joinpath("shapes").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in shapes if f.name.endswith(".toml"))


def profile_text(name_or_path: str) -> str:
    """Return the TOML text of a shipped profile or of a ``.toml`` file.

    Raises
    ------
    ConfigError
        No such profile, or the file cannot be read.
    """
    if not name_or_path.endswith(".toml"):
        names = profile_names()
        if name_or_path not in names:
            reason = f"no such profile{near(name_or_path, names)}; a file ends in .toml"
            raise ConfigError(f"profile {name_or_path}", reason)
        shapes = files("ctgkit.profile").joinpath("shapes")
        return shapes.joinpath(name_or_path + ".toml").read_text(encoding="utf-8")
    try:
        return Path(name_or_path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(name_or_path, f"cannot be read: {error}") from None


def load_profile(name_or_path: str) -> Renderer:
    """Return a compiled profile.

    Raises
    ------
    ConfigError
        It doesn't exist, or something in it is wrong; the text says where.
    """
    return Renderer(parse_profile(profile_text(name_or_path), name_or_path), name_or_path)


def read_secrets(profile: Profile, where: str) -> dict[str, str]:
    """Return ``secret.NAME`` -> its text, from the files and variables that the profile names.

    Raises
    ------
    ConfigError
        When one is missing or isn't one line of plain text; never with the secret itself.
    """
    found = {}
    for name, secret in profile.secrets.items():
        place = f"secrets.{name}"
        if secret.env is not None:
            text = os.environ.get(secret.env, "")
            source = f"the environment variable {secret.env}"
        else:
            source = str(secret.file)
            try:
                text = Path(source).read_bytes().decode("ascii", "replace").strip()
            except OSError as error:
                raise ConfigError(where, f"{place}: {source}: {error.strerror}") from error
        if not (text and text.isascii() and text.isprintable()):
            raise ConfigError(where, f"{place}: {source} is not one line of plain text")
        found[f"secret.{name}"] = text
    return found
