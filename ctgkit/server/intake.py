"""Where sensors' samples go: into the store and, as far as they are new, on to the ML service.

It is what :class:`ctgkit.server.ingest.SensorSocket` hands them to.
"""

from collections.abc import Sequence

from ctgkit.samples import Sample
from ctgkit.server.mlpool import MlPool
from ctgkit.server.numbering import Attendance, Turn
from ctgkit.server.results import Results
from ctgkit.server.store.engine import Replies
from ctgkit.server.store.writer import Store


class SampleIntake:
    """The intake of one backend.

    Parameters
    ----------
    store : Store
        Stores them, and says which were new where that was in doubt.
    ml : MlPool or None
        Gets those that are new; without one viewers are shown them at once.
    results : Results
        Shows them.
    """

    def __init__(self, store: Store, ml: MlPool | None, results: Results) -> None:
        self._store, self._ml, self._results = store, ml, results
        store.on_late = self._forward

    @property
    def full(self) -> bool:
        """Whether :meth:`room` has to be awaited before the next sample."""
        return self._store.full

    def accept(self, attendance: Attendance, sample: Sample, replies: Replies) -> bool:
        """Store and forward one valid sample, or have the store say whether it is there."""
        match attendance.admit(sample.seq):
            case "question":
                self._store.ask(attendance, sample, replies)
                return False
            case "stale":
                return False
        self._store.add_sample(attendance, sample)
        if sample.seq is not None:
            self._store.acknowledge(replies, sample.seq)
        waiting = attendance.numbers.waiting
        if waiting:
            waiting.append(Turn(sample, is_due=True))
        else:
            self._forward((sample,))
        return True

    def accept_all(
        self, attendance: Attendance, samples: Sequence[Sample], replies: Replies
    ) -> int:
        """Do the same with several samples; return how many are accepted at once."""
        if not attendance.admit_all(samples):
            return sum(self.accept(attendance, sample, replies) for sample in samples)
        self._store.add_samples(attendance, samples)
        if (seq := samples[-1].seq) is not None:
            self._store.acknowledge(replies, seq)
        self._forward(samples)
        return len(samples)

    def _forward(self, samples: Sequence[Sample]) -> None:
        if self._ml:
            self._ml.offer(samples)
        else:
            self._results.show_plain(samples)

    async def room(self) -> None:
        """Wait until the store can take more."""
        await self._store.room()

    def pending(self) -> object:
        """Return the same thing until the writer has taken what is queued now."""
        return self._store.pending

    async def written(self) -> None:
        """Wait until everything accepted so far is written, or given up."""
        await self._store.written()
