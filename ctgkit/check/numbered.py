"""Random histories of a sensor that speaks ``ctgkit.v1``, and the model of what must be stored.

The model is PROTOCOL S-6: a sample is settled by an acknowledgement at or above its number, or by
an error with its number; what isn't settled when a connection ends is sent again over the next.
In the end each good sample is stored once, and no bad one is.
"""

from contextlib import AsyncExitStack

from ctgkit.check.backend.acks import acks, errors
from ctgkit.check.checks import Mismatch
from ctgkit.check.connection import Line, until
from ctgkit.check.histories import BAD, PARTINGS, Step
from ctgkit.check.messages import BAD_SEC, SUBPROTOCOL, sample
from ctgkit.check.rig import Bench
from ctgkit.check.tape import REPLACED, Tape


class _NumberedPlayer:
    """Plays one history and notes what must be stored."""

    def __init__(self, bench: Bench, tape: Tape, stack: AsyncExitStack) -> None:
        self._bench, self._tape, self._stack = bench, tape, stack
        self._line: Line | None = None
        self._unsettled: dict[int, str] = {}
        self._bad: set[int] = set()
        self.good: dict[int, float] = {}

    async def play(self, step: Step) -> None:
        """Do one step."""
        what, detail = step
        if what in PARTINGS:
            await self._part(what)
            return
        match what:
            case "send":
                for _ in range(detail):
                    await self._send(self._new())
            case "gap":
                for _ in range(detail):
                    self._bench.seq()
            case "resend":
                again = list(self.good.items())[-detail:]
                for seq, sec in again:
                    await self._send(sample(sec, seq=seq))
            case "reject":
                await self._send(self._rejected(str(BAD[detail])))
            case "array":
                items = [
                    self._new() if ok else self._rejected(str(BAD["fhr-high"])) for ok in detail
                ]
                await self._send(f"[{', '.join(items)}]")
            case "unnumbered":
                await self._send(sample(self._bench.bad_sec()))
            case "settle":
                await self.settled()

    def _new(self) -> str:
        seq, sec = self._bench.seq(), self._bench.sec()
        self.good[seq] = sec
        self._unsettled[seq] = sample(sec, seq=seq)
        return self._unsettled[seq]

    def _rejected(self, frame: str) -> str:
        seq = self._bench.seq()
        self._bad.add(seq)
        text = frame.replace(BAD_SEC, f"{self._bench.bad_sec():g}")
        self._unsettled[seq] = text.removesuffix("}") + f', "seq": {seq}}}'
        return self._unsettled[seq]

    async def _send(self, text: str) -> None:
        line = self._line or await self._connect()
        self._tape.sent(text)
        await line.send(text)

    async def _connect(self) -> Line:
        self._line = await self._stack.enter_async_context(self._bench.sensor(v1=True))
        self._tape.opened(self._bench.sensor_path(), SUBPROTOCOL)
        for text in self._unsettled.values():
            self._tape.sent(text)
            await self._line.send(text)
        return self._line

    def _note_replies(self) -> None:
        """Take what the backend has settled off the list, by its replies on this connection."""
        if self._line is None:
            return
        seen = acks(self._line)
        if seen != sorted(seen):
            raise Mismatch("acknowledgements never go down", str(seen[-5:]))
        done = seen[-1] if seen else -1
        rejected = {e["seq"] for e in errors(self._line) if isinstance(e.get("seq"), int)}
        if wrong := rejected & self.good.keys():
            raise Mismatch("good samples are not rejected", f"an error for {min(wrong)}")
        if silent := [s for s in self._bad & self._unsettled.keys() - rejected if s <= done]:
            raise Mismatch(
                "a rejected sample is answered with an error before its number is acknowledged",
                f"none for {silent[0]}, and an acknowledgement of {done}",
            )
        for seq in [s for s in self._unsettled if s <= done or s in rejected]:
            del self._unsettled[seq]

    async def settled(self) -> None:
        """Wait until everything that was sent is acknowledged or rejected."""
        if self._unsettled and self._line is None:
            await self._connect()

        def nothing_owed() -> bool:
            self._note_replies()
            return not self._unsettled

        await until(
            nothing_owed,
            "each sample is acknowledged, or rejected with its number",
            lambda: f"{len(self._unsettled)} are not; {self._line.seen() if self._line else ''}",
            self._bench.timeout_s,
        )

    async def _part(self, how: str) -> None:
        if self._line is None:
            return
        older, link = self._line, self._tape.links
        if how == "leave":
            await older.connection.close()
        elif how == "drop":
            older.connection.transport.abort()
        self._note_replies()
        self._line = None
        if how == "again":
            await self._connect()
            self._tape.closed("server", REPLACED, link)
        else:
            self._tape.closed("client", 1000 if how == "leave" else 1006, link)


async def play_numbered(bench: Bench, history: list[Step], tape: Tape) -> None:
    """Play one history, settle it, and compare the database with the model.

    Raises
    ------
    Mismatch
        When a good sample is missing or stored twice, a bad one stored, or the replies are wrong.
    """
    after = bench.db.last_row()
    async with AsyncExitStack() as stack:
        player = _NumberedPlayer(bench, tape, stack)
        for step in [*history, ("send", 1), ("settle", None)]:
            await player.play(step)
        wanted = sorted(player.good.values())
        begun = min(wanted)

        def stored() -> list[float]:
            """Return what is there of this history, and everything that is bad."""
            rows = bench.db.readings(after)
            return sorted(r.sec for r in rows if not 1000 <= r.sec < begun)

        if stored() != wanted:
            found = stored()
            missing = [sec for sec in wanted if sec not in found]
            if missing:
                raise Mismatch(
                    f"{len(wanted)} acknowledged samples are stored", f"{len(missing)} are not"
                )
            raise Mismatch(f"{len(wanted)} rows, one per good sample", f"{len(found)} rows")
