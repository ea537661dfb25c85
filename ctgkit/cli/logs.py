"""What the log looks like: a line of text, or of JSON, that no peer's text can break or forge."""

import logging
from datetime import UTC, datetime
from typing import Any, TextIO

from ctgkit.cli.progress import clear
from ctgkit.errors import printable

FORMATS = ("text", "json")
VARIABLE = "CTGKIT_LOG_FORMAT"


class Lines(logging.StreamHandler[TextIO]):
    """Writes the log, not into a line of progress."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        clear()
        super().emit(record)


class OneLine(logging.Formatter):
    """Keeps a message on its line: a peer's text can't forge lines or command the terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """Return the line without its traceback."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback, indented: its last lines may quote a peer."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {printable(line)}" for line in lines)


class JsonLine(logging.Formatter):
    """An object per line: ``time``, ``level``, ``logger``, ``message`` and, of a bug, ``trace``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        import json  # not for --help

        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": printable(record.getMessage()),
        }
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def use(name: str) -> None:
    """Write the log in one of :data:`FORMATS` from now on."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLine() if name == "json" else OneLine())


def are_json() -> bool:
    """Return whether the log is written as JSON."""
    return any(isinstance(h.formatter, JsonLine) for h in logging.getLogger().handlers)
