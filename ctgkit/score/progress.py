"""What of a long run is finished, in a file, so that another run goes on."""

from pathlib import Path
from typing import Any

import msgspec

from ctgkit.errors import ConfigError
from ctgkit.score.scoring import Score


class _State(msgspec.Struct):
    ctgkit_score: int
    settings: dict[str, Any]
    scores: dict[str, Score]


def load(path: Path, settings: dict[str, Any]) -> dict[str, Score]:
    """Return the finished scores in *path*; none when there is no such file.

    Raises
    ------
    ConfigError
        When it is another kind of file, or of a run with other settings.
    """
    if not path.exists():
        return {}
    try:
        state = msgspec.json.decode(path.read_bytes(), type=_State)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"--resume {path}", f"not the state of a score run: {error}") from error
    if state.settings != settings:
        other = [name for name in settings if state.settings.get(name) != settings[name]]
        raise ConfigError(f"--resume {path}", f"it has another {', '.join(other)}")
    return state.scores


def save(path: Path, settings: dict[str, Any], scores: dict[str, Score]) -> None:
    """Write the finished scores; whoever reads the file sees a whole one."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(msgspec.json.encode(_State(1, settings, scores)))
    partial.replace(path)
