"""Wall time as the wire writes it."""

from datetime import UTC, datetime


def utc_timestamp() -> str:
    """Return now as ISO 8601 in UTC with ``Z`` and milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
