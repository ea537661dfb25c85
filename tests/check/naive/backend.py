"""A naive backend that keeps PROTOCOL.md, and the ways in which it can be told to break it.

It shares nothing with ctgkit, and no library with it. Each fault is one phrase; where the phrase
stands in these files is the whole planted mistake.
"""

import asyncio
import time
from contextlib import suppress

from tests.check.naive.door import Door, body
from tests.check.naive.ml import Link
from tests.check.naive.samples import items_of, read
from tests.check.naive.sockets import Closed, Socket, serve
from tests.check.naive.store import HastyStore, Store
from tests.check.naive.viewing import Viewing


class Backend(Door, Viewing):
    """The backend, with at most one fault."""

    def __init__(self, config, bug=""):
        self.bug, self.config = bug, config
        self.tokens = config["tokens"]
        hasty = bug in ("hasty store", "naive")
        self.store = (
            HastyStore(config["store"])
            if hasty
            else Store(config["store"], config.get("sync", "OFF"), bug)
        )
        self.recovered = bug == "leaves interrupted examinations open"
        if bug == "ends examinations before it has the port":
            self.recover()
        self.tasks = set()
        self.sensors, self.attending, self.viewers = {}, {}, {}
        self.exams, self.held = {}, []
        self.past, self.predicted, self.newest = [], {}, {}
        self.gone, self.last_seen, self.controls_on = 0, {}, []
        self.stopping, self.comes = False, False
        self.rubbish, self.bad_samples, self.shuffled = {}, 0, False
        self.newest_v1, self.highest, self.of_this_run = {}, {}, set()
        self.restarted, self.in_a_row, self.numbers, self.promised = {}, 0, {}, set()
        self.link = Link(self)

    def recover(self):
        if not self.recovered:
            self.store.end_all()
        self.recovered = True

    def spawn(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # Sensors

    async def serve_sensor(self, socket, own):
        if self.bug == "cannot serve two who come at once":
            if self.comes:
                return
            self.comes = True
            await asyncio.sleep(0.001)
            self.comes = False
        self.in_a_row += 1
        if self.bug == "refuses quick reconnects" and self.in_a_row > 40:
            return
        self.take_over(socket, own)
        bad = self.rubbish.get(own, 0) if self.bug == "counts bad frames per sensor" else 0
        try:
            exam = await self.exam_of(own)
            while True:
                frame = await socket.recv()
                good = await self.take(socket, own, frame, exam)
                worse = self.bad_samples if self.bug == "counts bad samples" else not good
                bad = 0 if good and self.bug != "counts bad frames for ever" else bad + worse
                self.rubbish[own] = bad
                if bad >= 100 and self.bug != "endures any rubbish":
                    await socket.close(1011 if self.bug == "closes rubbish with 1011" else 1008)
                    return
                if self.bug == "writes to every sensor":
                    await socket.send("ok")
        finally:
            self.last_seen[own] = time.monotonic()
            self.numbers.pop(socket, None)
            polite = socket.heard_goodbye or socket.said_goodbye
            if polite or self.bug != "notices polite ends only":
                await self.leave(socket, own)

    def take_over(self, socket, own):
        own = socket.spelt if self.bug == "knows a sensor by its spelling" else own
        older = self.sensors.get(own)
        self.attending[socket] = own
        if older is not None and self.bug == "closes the newer connection":
            self.spawn(socket.close(4409))
            return
        if older is not None and self.bug != "keeps both connections":
            self.spawn(older.close(1000 if self.bug == "takes over with 1000" else 4409))
            if self.bug != "the older connection still counts":
                self.attending.pop(older, None)
        self.sensors[own] = socket

    async def exam_of(self, own):
        self.recover()
        bed = own if self.bug == "an examination per sensor" else "bed"
        if self.exams.get(bed) is None or self.bug == "a new examination for everybody":
            if isinstance(self.store, HastyStore):
                self.exams[bed] = await asyncio.to_thread(self.store.open)
            else:
                self.exams[bed] = self.store.open()
            if self.bug != "an examination per sensor":
                self.past = []
        return self.exams[bed]

    async def leave(self, socket, own):
        own = socket.spelt if self.bug == "knows a sensor by its spelling" else own
        self.attending.pop(socket, None)
        if self.stopping and self.bug == "leaves examinations open":
            return
        if self.sensors.get(own) is socket:
            del self.sensors[own]
        bed = own if self.bug == "an examination per sensor" else "bed"
        left = (
            own in self.attending.values()
            if self.bug == "an examination per sensor"
            else self.attending
        )
        if self.bug == "ends with the first who leaves":
            left = False
        if self.bug == "the older connection ends the examination":
            left = any(o != own for o in self.attending.values())
        if not left and self.exams.get(bed) and self.bug != "never ends examinations":
            exam, self.exams[bed] = self.exams[bed], None
            if self.bug != "shows the past of what ended":
                self.past = []
            if isinstance(self.store, HastyStore):
                await asyncio.to_thread(self.store.end, exam)
            else:
                self.store.end(exam)

    async def take(self, socket, own, frame, exam):
        """Take one frame; return how many samples of it were good."""
        items, after_ack, rejected = items_of(frame, self.bug), [], -1
        numbered, good, last = socket.subprotocol is not None, 0, None
        used = self.numbers.setdefault(socket, {}) if numbered else {}
        samples = [read(item, own, self.tokens, self.bug) for item in items]
        if self.bug == "rejects whole arrays" and None in samples:
            samples = [None]
        self.bad_samples = samples.count(None)
        for item, sample in zip(items, samples, strict=False):
            missing = (
                sample is not None
                and numbered
                and sample[-1] is None
                and self.bug != "needs no number"
            )
            if sample is None or missing or (numbered and self.is_other(socket, used, sample)):
                if numbered and self.bug != "rejects in silence":
                    seq = item.get("seq") if isinstance(item, dict) else None
                    seq = (
                        {"seq": seq}
                        if isinstance(seq, int) and self.bug != "rejects without number"
                        else {}
                    )
                    if self.bug == "rejects after it acknowledged":
                        after_ack.append(body(error="bad", **seq))
                    else:
                        await socket.send(body(error="bad", **seq))
                    rejected = seq.get("seq", -1)
                continue
            good += 1
            last = sample[-1] if numbered else None
            await self.keep((*sample[:-1], last), exam, socket, item)
        if self.bug == "acknowledges rejected samples" and rejected >= 0:
            last = max(rejected, -1 if last is None else last)
        if self.bug == "waits for gaps to close" and last is not None:
            last = self.without_gap(used, samples)
        if last is not None and self.bug != "never acknowledges":
            if self.bug != "acknowledgements go down":
                last = used["last"] = max(last, used.get("last", -1))
            text = body(ack=last + (self.bug == "acknowledges one too many"))
            if self.bug == "acknowledges late":
                self.spawn(self.later(socket, text))
            else:
                await socket.send(text)
        for text in after_ack:
            await socket.send(text)
        return good

    async def later(self, socket, text):
        await asyncio.sleep(1.6)
        with suppress(Closed):
            await socket.send(text)

    def without_gap(self, used, samples):
        """Return the last number up to which this connection sent all."""
        numbers = {s[-1] for s in samples if s} | used.setdefault("all", set())
        used["all"] = numbers
        first = min(numbers)
        while first + 1 in numbers:
            first += 1
        return first

    def is_other(self, socket, used, sample):
        """Whether its number belongs to another sample of the stream, or of this connection."""
        seq, values = sample[-1], sample[:-1]
        careless = ("drops a restarted sensor's data", "stores resent samples again")
        if seq is None or self.bug in (*careless, "acknowledges other values"):
            return False
        if socket.stream:
            known = [k[1:] for k in self.store.numbered(sample[0], seq) if k[0] == socket.stream]
            if known and (sample[1], sample[2]) not in known:
                return True
        return used.setdefault(seq, values) != values

    async def keep(self, sample, exam, socket, item):
        """Store a sample and pass it on, unless it was here before."""
        own, sec, fhr, uterus, spasms, seq = sample
        stream = socket.stream
        if self.bug == "drops what goes back in time" and sec < self.newest.get(own, 0):
            return
        self.newest[own] = sec
        again = seq is not None and any(
            k[1:] == (sec, fhr) and (not stream or k[0] == stream)
            for k in self.store.numbered(own, seq)
        )
        again = again or (own, seq, sec, stream) in self.promised
        if again and self.bug == "replaces resent samples":
            self.store.move(own, seq, sec, exam)
        if self.bug == "a row per moment" and seq is not None:
            again = self.newest_v1.get(own) == sec or again
            self.newest_v1[own] = sec
        if self.bug == "drops lower numbers" and seq is not None:
            highest = self.highest.get(socket, -1)
            again, self.highest[socket] = again or seq < highest, max(seq, highest)
        if self.bug == "forgets numbers when it restarts":
            again = again and (own, seq, sec) in self.of_this_run
            self.of_this_run.add((own, seq, sec))
        if self.bug == "acknowledges other values" and seq is not None:
            again = bool(self.store.numbered(own, seq))
        if self.bug == "drops a restarted sensor's data" and seq is not None:
            again = seq <= self.restarted.get(own, -1)
            if seq < 1 << 53:  # otherwise nothing would be stored after S-6.2/largest
                self.restarted[own] = max(seq, self.restarted.get(own, -1))
        if not again or self.bug == "stores resent samples again":
            shown = 0 if fhr is None and self.bug == "stores 0 for no signal" else fhr
            owner = next(iter(self.sensors)) if self.bug == "mixes sensors" else own
            owner = socket.spelt if self.bug == "stores ids as they are spelt" else owner
            exam = None if self.bug == "rows without examination" else exam
            await self.write((exam, sec, owner, shown, uterus, spasms, seq, stream))
            if self.bug != "forgets the past at once":
                self.past.append((own, sec, fhr, uterus, spasms))
        if again and self.bug != "sends resent samples to the ML service":
            return
        await self.link.offer(own, sec, fhr, uterus, spasms, seq, item)

    async def write(self, row):
        seq = row[-2]
        if self.bug == "acknowledges before it commits" and seq is not None:
            self.promised.add((row[2], seq, row[1], row[-1]))
            asyncio.get_running_loop().call_later(0.1, self.store.insert, row)
        elif self.bug == "commits every 2 s" and seq is not None:
            self.held.append(row)
            if len(self.held) == 1:
                asyncio.get_running_loop().call_later(2.0, self.flush)
        elif isinstance(self.store, HastyStore):
            await asyncio.to_thread(self.store.insert, row)
        elif self.link.up or self.bug != "loses data while the ML service is down":
            self.store.insert(row)
            if self.bug == "stores twice" and seq is None:
                self.store.insert(row)

    def flush(self):
        for row in self.held:
            self.store.insert(row)
        self.held = []

    # Life

    async def stop(self):
        """End as PROTOCOL C-1 asks."""
        self.stopping = True
        self.flush()
        peers = [*self.attending, *self.viewers]
        for socket in peers:
            if self.bug != "hangs up without a word":
                await socket.close(1000 if self.bug == "stops with 1000" else 1001)
            socket.writer.transport.abort() if self.bug == "hangs up without a word" else None
        if self.bug != "leaves examinations open":
            self.store.end_all()
        if self.bug == "waits for its peers":
            while any(not s.heard_goodbye for s in peers):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)


async def start(config, bug=""):
    """Start a backend; return it with its server."""
    backend = Backend(config, bug)
    limit = 1 << 30 if bug == "takes frames of any size" else 16_384

    def tweak(socket: Socket):
        socket.limits_messages = bug != "limits frames, not messages"
        socket.bug = bug

    server = await serve(
        config.get("host", "127.0.0.1"),
        config.get("port", 0),
        backend.route,
        limit=limit,
        tweak=tweak,
    )
    if bug != "ends interrupted examinations with the next sensor":
        backend.recover()
    backend.spawn(backend.link.run())
    return backend, server
