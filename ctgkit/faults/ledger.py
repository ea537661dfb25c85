"""What faults did, as events for the truth beside the samples.

This module performs no I/O.
"""

from ctgkit.events import Event
from ctgkit.faults.line import Deed


class Ledger:
    """Collects the strikes of one line; strikes of a fault on messages in a row are one event."""

    def __init__(self) -> None:
        self._runs: list[tuple[Deed, Deed]] = []
        self._open: dict[int, int] = {}

    def note(self, deed: Deed) -> None:
        """Add a strike."""
        if deed.again:
            at = self._open[deed.which]
            self._runs[at] = (self._runs[at][0], deed)
        else:
            self._open[deed.which] = len(self._runs)
            self._runs.append((deed, deed))

    def events(self) -> list[Event]:
        """Return the events, by onset.

        Their subtype is the kind of fault; their details number the first and the last message, or
        connection, that was struck, from 0.
        """
        events = [
            Event(
                kind="fault",
                subtype=first.fault,
                id=f"{first.fault}{first.which}.{first.n}",
                onset_s=min(first.t_s, last.t_s),
                end_s=max(first.t_s, last.t_s),
                details={f"first_{first.struck}": first.n, f"last_{first.struck}": last.n},
            )
            for first, last in self._runs
        ]
        return sorted(events, key=lambda event: event.onset_s)
