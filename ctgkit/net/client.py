"""Connecting with a sensor's token."""

from websockets.asyncio.client import connect


class DirectConnect(connect):
    """``connect`` that follows no redirect.

    The library drops ``Authorization`` when it is sent to another host, but not a header of ours:
    whoever answers at the backend's address could have the token sent anywhere.
    """

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the refusal instead of the address that it names."""
        return exc
