"""Where profiles are found: in the package, or in a file of the user's; and their secrets."""

import hashlib
import os
from importlib.resources import files
from pathlib import Path

from ctgkit import private, toml
from ctgkit.errors import ConfigError, near
from ctgkit.profile.model import Profile, moved, parse_profile
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
    return toml.read_text(Path(name_or_path))


def profile_digest(name_or_path: str) -> str:
    """Return what tells one profile's text from another's."""
    return hashlib.sha256(profile_text(name_or_path).encode()).hexdigest()[:16]


def load_profile(name_or_path: str, url: str | None = None) -> Renderer:
    """Return a compiled profile.

    Parameters
    ----------
    name_or_path : str
        A shipped one's name, or a ``.toml`` file.
    url : str or None
        Where to send instead; see :func:`ctgkit.profile.model.moved`.

    Raises
    ------
    ConfigError
        It doesn't exist, or something in it is wrong; the text says where.
    """
    profile = parse_profile(profile_text(name_or_path), name_or_path)
    if url is not None:
        profile = moved(profile, url, name_or_path)
    return Renderer(profile, name_or_path)


def read_secrets(profile: Profile, where: str) -> dict[str, str]:
    """Return ``secret.NAME`` -> its text, from the files and variables that the profile names.

    Files are looked for beside the profile.

    Raises
    ------
    ConfigError
        When one is missing or isn't one line of plain text; never with the secret itself.
    """
    found = {}
    for name, secret in profile.secrets.items():
        if secret.env is not None:
            text = os.environ.get(secret.env, "").strip()
            if not (text and text.isascii() and text.isprintable()):
                reason = f"the environment variable {secret.env} is not one line of plain text"
                raise ConfigError(f"{where}, secrets.{name}", reason)
        else:
            text = private.read_line(Path(where).parent / str(secret.file))
        found[f"secret.{name}"] = text
    return found
