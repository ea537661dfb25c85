"""Where scenarios are found: in the package, or in a file of the user's."""

from importlib.resources import files
from pathlib import Path

from ctgkit import toml
from ctgkit.errors import ConfigError, ScenarioError, near
from ctgkit.simulate.scenario import Scenario, parse_scenario


def scenario_names() -> list[str]:
    """Return the names of the shipped scenarios, sorted."""
    shipped = files("ctgkit.simulate").joinpath("scenarios").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in shipped if f.name.endswith(".toml"))


def scenario_text(name_or_path: str, beside: Path | None = None) -> str:
    """Return the TOML text of a shipped scenario or of a ``.toml`` file.

    Parameters
    ----------
    name_or_path : str
        A shipped name, or a path that ends in ``.toml``.
    beside : Path or None
        Folder against which a relative path is resolved; default the current one.

    Raises
    ------
    ScenarioError
        No such scenario, or the file cannot be read.
    """
    if not name_or_path.endswith(".toml"):
        names = scenario_names()
        if name_or_path not in names:
            raise ScenarioError(name_or_path, "", f"no such scenario{near(name_or_path, names)}")
        shipped = files("ctgkit.simulate").joinpath("scenarios", name_or_path + ".toml")
        return shipped.read_text(encoding="utf-8")
    try:
        return toml.read_text((beside or Path()) / name_or_path)
    except ConfigError as error:
        raise ScenarioError(name_or_path, "", error.reason) from None


def load_scenario(name_or_path: str) -> Scenario:
    """Return a checked scenario.

    Parameters
    ----------
    name_or_path : str
        A shipped name (see :func:`scenario_names`) or the path of a ``.toml`` file, which may
        extend a shipped one or a file beside it.

    Raises
    ------
    ScenarioError
        It doesn't exist, or something in it is wrong.

    Examples
    --------
    >>> load_scenario("normal-reactive").id
    'normal-reactive'
    """
    if not name_or_path.endswith(".toml"):
        return parse_scenario(name_or_path, scenario_text)
    path = Path(name_or_path)
    return parse_scenario(path.name, lambda name: scenario_text(name, path.parent))
