"""One sensor on a foreign wire: connected, and what it may send where nothing is simulated."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ctgkit.errors import ConfigError, Unreachable, WireError
from ctgkit.profile.links import HttpLink, Refused, SocketLinks, Tally
from ctgkit.profile.model import Setup
from ctgkit.profile.render import Renderer
from ctgkit.profile.reply import pointed, read_document
from ctgkit.profile.session import Beside, Outgoing, Session
from ctgkit.samples import Sample

if TYPE_CHECKING:
    import httpx


@asynccontextmanager
async def connected(
    renderer: Renderer,
    session: Session,
    tally: Tally,
    client: "httpx.AsyncClient | None",
    connect_timeout_s: float,
) -> AsyncIterator[HttpLink | SocketLinks]:
    """Make the setup requests, and yield what the sensor's messages are sent over.

    Parameters
    ----------
    renderer : Renderer
        The profile.
    session : Session
        The sensor; gets what the setup requests capture.
    tally : Tally
        Counts.
    client : httpx.AsyncClient or None
        Needed where the profile ``needs_http``.
    connect_timeout_s : float
        How long the other side may take to answer first, seconds.

    Raises
    ------
    Unreachable
        When a setup request fails.
    """
    profile = renderer.profile
    web = HttpLink(client, session, tally, connect_timeout_s, profile.timeout_s) if client else None
    if web is not None:
        await prepare(renderer, session, web)
    if profile.is_web:
        assert web is not None
        yield web
        return
    async with SocketLinks(session, tally, connect_timeout_s) as sockets:
        yield sockets


async def prepare(renderer: Renderer, session: Session, http: HttpLink) -> None:
    """Make the setup requests, and put what they capture into the session.

    Raises
    ------
    Unreachable
        When one of them fails, or its answer lacks what is to be captured.
    """
    for setup, request in renderer.setup(session):
        try:
            answer = await http.send(request)
        except Refused as refusal:
            raise Unreachable(setup.url, f"setup: {refusal}") from None
        session.captured |= _captured(setup, answer, session)


def _captured(setup: Setup, answer: bytes, session: Session) -> dict[str, Any]:
    try:
        document = read_document(answer) if setup.capture else None
        return {name: pointed(document, pointer) for name, pointer in setup.capture.items()}
    except WireError as error:
        said = session.shown(answer)
        raise Unreachable(setup.url, f"setup: the answer {error.reason}: {said}") from None
    except LookupError as error:
        raise Unreachable(setup.url, f"setup: {error.args[0]} in the answer") from None


def made_up(
    renderer: Renderer, session: Session, first_s: float, rate_hz: float, count: int
) -> list[Outgoing]:
    """Return the messages for so many samples without a gap, for load and for checks.

    Raises
    ------
    ConfigError
        When the profile makes no message of them: nothing would be sent, and nothing tested.
    """
    seconds = [first_s + n / rate_hz for n in range(count)]
    samples = [
        Sample(session.sensor_id, sec, 120.0 + sec % 40 / 4, sec % 100 / 2, 0.0) for sec in seconds
    ]
    if renderer.looks_beside:
        session.beside = dict.fromkeys(seconds, Beside(mother_bpm=80.0, quality=2, second_bpm=130))
    if not (messages := renderer.render(samples, session)):
        raise ConfigError(renderer.where, "produces no message from a sample with all its values")
    return messages
