"""The naive backend's viewers: results as they come, and the past."""

import asyncio
from collections import deque

from tests.check.naive.door import STAMP, body
from tests.check.naive.samples import items_of, read
from tests.check.naive.sockets import Closed

QUEUE = 256


class Viewing:
    """Part of the backend: who watches."""

    async def publish(self, text):
        """Give a message to every viewer, in bytes as it came."""
        viewers = list(self.viewers.items())
        if self.bug == "relays results as binary":
            text = text if isinstance(text, bytes) else text.encode()
        if self.bug == "sends results to sensors too":
            for socket in self.attending:
                self.spawn(self.say(socket, text))
        if self.bug == "shuffles results" and len(viewers) > 2 and self.shuffle(viewers, text):
            return
        if self.bug == "knows two viewers at most":
            viewers = viewers[:2]
        if self.bug == "locks up when many viewers vanish" and self.gone > 120:
            return
        if self.bug in ("one slow viewer holds up all", "naive"):
            for socket, _ in viewers:
                await self.say(socket, text)
            return
        if self.bug == "stops while one is slow" and any(len(q) >= QUEUE for _, (q, _) in viewers):
            return
        self.queue_up(viewers, text)

    def queue_up(self, viewers, text):
        for socket, (queue, wake) in viewers:
            if len(queue) < (64 if self.bug == "closes viewers early" else QUEUE):
                queue.append(text)
                if self.bug == "says each result twice":
                    queue.append(text)
                wake.set()
            elif self.bug != "drops for slow viewers":
                del self.viewers[socket]
                self.spawn(self.evict(socket))

    def shuffle(self, viewers, text):
        self.shuffled = not self.shuffled
        if self.shuffled:
            self.spawn(self.publish_later(viewers, text))
        return self.shuffled

    async def publish_later(self, viewers, text):
        await asyncio.sleep(0.02)
        for _, (queue, wake) in viewers:
            queue.append(text)
            wake.set()

    async def say(self, socket, text):
        try:
            await (socket.send(text) if isinstance(text, str) else socket.send_bytes(text))
        except Closed:
            self.viewers.pop(socket, None)

    async def evict(self, socket):
        await socket.close(1013)
        socket.writer.transport.abort()

    async def serve_viewer(self, socket, backfill, *, deaf=False):
        queue, wake = deque(), asyncio.Event()
        if backfill and self.bug != "has no past":
            await self.tell_the_past(socket, backfill)
        if not deaf:
            self.viewers[socket] = queue, wake
        writer = self.spawn(self.write_to(socket, queue, wake))
        try:
            while True:
                said = await socket.recv()
                if self.bug == "a viewer may not speak":
                    await socket.close(1008)
                if self.bug == "relays what viewers say":
                    await self.publish(said)
                if self.bug == "takes samples from viewers":
                    await self.take_from_viewer(socket, said)
        finally:
            self.viewers.pop(socket, None)
            self.gone += socket.code != 1000
            writer.cancel()

    async def take_from_viewer(self, socket, said):
        for item in items_of(said, ""):
            claimed = item.get("sensorID") if isinstance(item, dict) else None
            if claimed in self.tokens and (sample := read(item, claimed, self.tokens, "")):
                await self.keep(sample, await self.exam_of(claimed), socket, item)

    async def tell_the_past(self, socket, backfill):
        newest = {own: sec for own, sec, *_ in self.past}
        if self.bug == "the past counts from the newest of all":
            newest = dict.fromkeys(newest, max(newest.values(), default=0))
        if self.bug == "the past has no limit":
            newest = dict.fromkeys(newest, 0)
        predicted = list(self.predicted.values())
        if self.bug == "predictions before the past":
            for text in predicted:
                await socket.send(text)
        for own, sec, fhr, uterus, spasms in self.past:
            data = {"BPMChild": fhr, "uterus": uterus, "spasms": spasms}
            status = "error" if self.bug == "the past is an error" else "ok"
            if sec >= newest[own] - backfill:
                await socket.send(body(sensorID=own, secFromStart=sec, data=data, prediction=None,
                                       status=status, timestamp=STAMP))  # fmt: skip
        if self.bug != "predictions before the past":
            for text in predicted:
                await socket.send(text)

    async def write_to(self, socket, queue, wake):
        while True:
            await wake.wait()
            wake.clear()
            while queue:
                await self.say(socket, queue.popleft())
