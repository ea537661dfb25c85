"""``ctgkit serve`` with a planted fault: ``python -m tests.check.reference FAULT -- serve …``.

These are faults that the naive backend can't have: it has no groups of rows, no grace period, no
beds and no access token. Each replaces one function of the reference by a wrong one.
"""

import sys
from collections.abc import Callable

from ctgkit.cli.main import main
from ctgkit.server import broadcast, door, mllink, numbering, owed, results, session
from ctgkit.server.app import Backend
from ctgkit.server.ingest import SensorSocket
from ctgkit.server.store import writer
from ctgkit.server.tokens import Tokens

PLANTED: dict[str, Callable[[], None]] = {}


def fault(name):
    def register(plant):
        PLANTED[name] = plant
        return plant

    return register


@fault("acknowledges a group before its commit")
def _():
    def acknowledge(self, replies, seq):
        replies.ack(seq)

    writer.Store.acknowledge = acknowledge
    writer.COMMIT_EVERY_S = 0.4


@fault("loses the last group at the end")
def _():
    stop = writer.Store.stop

    def forget(self):
        self._queue.samples.clear()
        stop(self)

    writer.Store.stop = forget
    writer.COMMIT_EVERY_S = 0.4


@fault("takes old numbers for stored")
def _():
    ask = writer.Store.ask

    def drop(self, source, sample, replies):
        if source.numbers.known:
            self.acknowledge(replies, sample.seq)
        else:
            ask(self, source, sample, replies)

    writer.Store.ask = drop


@fault("is sure of every number")
def _():
    numbering.Numbers.is_new = lambda self, seq: True


@fault("answers conflicts as if they were stored")
def _():
    settle = SensorSocket.settle
    SensorSocket.settle = lambda self, sample, outcome: settle(
        self, sample, "again" if outcome == "conflict" else outcome
    )


@fault("knows no grace period")
def _():
    disconnect = session.Session.disconnect

    def at_once(self, attendance, at_s, **how):
        return [*disconnect(self, attendance, at_s, **how), *self.expire(float("inf"))]

    session.Session.disconnect = at_once


@fault("grace without end")
def _():
    session.Session.expire = lambda self, at_s: []


@fault("forgets what an earlier run left open")
def _():
    session.Session.recover = lambda self, opened, at_s: []


@fault("one bed for all")
def _():
    init = session.Session.__init__

    def joined(self, beds, *more, **others):
        init(self, dict.fromkeys(beds, "bed"), *more, **others)

    session.Session.__init__ = joined


@fault("a takeover by the newer ends with the older")
def _():
    connect = session.Session.connect

    def keep(self, sensor_id, at_s, stream=None):
        older = self._attending.get(sensor_id)
        attendance, actions = connect(self, sensor_id, at_s, stream)
        if older is not None:
            bed = self._open[self._bed_of[sensor_id]]
            bed.attendances.discard(attendance)
            bed.attendances.add(older)
        return attendance, actions

    session.Session.connect = keep


@fault("takes the access token from the URL")
def _():
    viewer = door.Gate._viewer

    def careless(self, asked):
        route = viewer(self, asked)
        if "token" in asked.query and isinstance(route, door.ViewerEnters):
            return door.ViewerEnters(route.backfill_s, True)
        return route

    door.Gate._viewer = careless


@fault("shows results before the token")
def _():
    shows, handle = Tokens.is_shown, Backend._handle
    viewers_at = {}

    async def note(self, connection):
        viewers_at[connection] = self._broadcast._viewers
        await handle(self, connection)

    async def meanwhile(self, connection):
        peek = broadcast._Viewer(connection, None)
        viewers_at[connection].add(peek)
        peek.idle = True
        try:
            return await shows(self, connection)
        finally:
            viewers_at[connection].discard(peek)

    Backend._handle, Tokens.is_shown = note, meanwhile


@fault("lets everybody switch")
def _():
    control = door.Gate._control

    def free(self, asked):
        token, self.viewer_token = self.viewer_token, None
        try:
            return control(self, asked)
        finally:
            self.viewer_token = token

    door.Gate._control = free


@fault("the past of all examinations")
def _():
    init = results.Results.__init__
    results.Results.__init__ = lambda self, *parts: init(self, *parts[:3], _All, *parts[4:])


class _All(dict):
    def __contains__(self, _key):
        return True


@fault("drops for slow viewers")
def _():
    async def stay(self, viewer):
        while True:
            await viewer.overflow.wait()
            viewer.overflow.clear()

    broadcast.Broadcast._evict = stay


@fault("a queue of 16")
def _():
    broadcast.QUEUE_MAX = 16
    broadcast.QUEUE_MAX_BYTES = 1 << 18


@fault("answers the newest of a moment")
def _():
    answer = owed.Owed.answer

    def newest(self, sensor_id, second):
        key = owed._key(sensor_id, second)
        same = self._by_key.get(key)
        if same is not None and not isinstance(same, owed._Asked):
            same.rotate(1)
        return answer(self, sensor_id, second)

    owed.Owed.answer = newest


@fault("an error answers the newest")
def _():
    def newest(self):
        asked = next((a for a in reversed(self._asked) if a.sample is not None), None)
        if asked is None:
            return None
        sample = asked.sample
        self._settle(asked)
        return sample

    owed.Owed.refuse = newest


@fault("waits five seconds for an answer")
def _():
    owed.ANSWER_WITHIN_S = mllink.ANSWER_WITHIN_S = 5.0


@fault("takes 101 bad frames")
def _():
    from ctgkit.server import ingest

    ingest.BAD_FRAMES_MAX = 101


@fault("forwards what is sent again")
def _():
    settle = SensorSocket.settle

    def forward(self, sample, outcome):
        if outcome == "again":
            self._intake._forward((sample,))
        settle(self, sample, outcome)

    SensorSocket.settle = forward


if __name__ == "__main__":
    at = sys.argv.index("--")
    PLANTED[" ".join(sys.argv[1:at])]()
    sys.argv[1:] = sys.argv[at + 1 :]
    main()
