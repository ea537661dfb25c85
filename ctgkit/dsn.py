"""The address of a PostgreSQL database, and what of it may be shown. Pure."""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from ctgkit.errors import excerpt

SCHEMES = ("postgresql", "postgres")
PREFIX = "postgresql://"
_SECRET = {"password", "sslpassword"}


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where a PostgreSQL database is; as text it has no password.

    >>> str(Dsn("postgresql://ctg:secret@db/ward?sslmode=require&password=x"))
    'postgresql://ctg@db/ward?sslmode=require'
    >>> Dsn("postgresql://ctg@db/ward").has_password
    False
    """

    text: str = field(repr=False)

    def __str__(self) -> str:
        parts = urlsplit(self.text)
        user, at, hosts = parts.netloc.rpartition("@")
        pairs = [(k, v) for k, v in _pairs(parts.query) if k.lower() not in _SECRET]
        query = urlencode(pairs, safe="/:,")
        tail = f"?{query}" if query else ""
        return f"{parts.scheme}://{user.partition(':')[0]}{at}{hosts}{parts.path}{tail}"

    @property
    def name(self) -> str:
        """The database's name, as a file has one."""
        return unquote(urlsplit(self.text).path.strip("/"))

    @property
    def has_password(self) -> bool:
        """Whether it holds a password itself, which lists of processes would show."""
        parts = urlsplit(self.text)
        user, _, _ = parts.netloc.rpartition("@")
        return ":" in user or any(k.lower() in _SECRET for k, _ in _pairs(parts.query))

    @property
    def password(self) -> str:
        """The password that it holds, for a program that takes it from PGPASSWORD; "" if none.

        >>> Dsn("postgresql://ctg:a%20b@db/ward").password, Dsn("postgresql://db/w?password=x").password
        ('a b', 'x')
        """
        parts = urlsplit(self.text)
        user, _, _ = parts.netloc.rpartition("@")
        stands = unquote(user.partition(":")[2])
        return stands or dict(_pairs(parts.query)).get("password", "")


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def is_dsn(text: str) -> bool:
    """Return whether a text means a PostgreSQL database.

    >>> is_dsn("postgresql:///ctg"), is_dsn("sqlite:///ctg.db")
    (True, False)
    """
    return text.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def read_dsn(text: str) -> Dsn:
    """Return the address that a text means.

    Raises
    ------
    ValueError
        When it is none; the text isn't repeated, as it may hold a password.

    Examples
    --------
    >>> str(read_dsn("postgresql://db.example:5433/ctg"))
    'postgresql://db.example:5433/ctg'
    """
    if not is_dsn(text):
        raise ValueError(f"{excerpt(text)!r} is not {PREFIX}…")
    if not text.isprintable() or " " in text or "\0" in unquote(text):
        raise ValueError("the database address contains spaces or unprintable characters")
    try:
        parts = urlsplit(text)
        _ = [p for p in parts.netloc.rpartition("@")[2].split(",") if urlsplit(f"//{p}").port]
    except ValueError as error:
        raise ValueError("the database address has no valid host and port") from error
    if parts.fragment:
        raise ValueError("the database address contains a #; in a password, write it as %23")
    if not parts.path.strip("/"):
        raise ValueError(f"the database address must end in the database name: {PREFIX}HOST/NAME")
    return Dsn(text)
