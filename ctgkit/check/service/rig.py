"""What a check of an ML service may use: a connection, requests, minutes of data time."""

import uuid
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection

from ctgkit.check.checks import Mismatch, Skip
from ctgkit.check.connection import OPEN_PATIENCE, Line, Pulse, Target, answers, until
from ctgkit.check.messages import parsed, sample
from ctgkit.net.client import NotConnected, dial

ENOUGH_S = 430.0
"""Data time by which a service that keeps M-3.3 has made four predictions, seconds."""
LONG_S = 1060.0
"""Data time by which every trace here has shown its worst, seconds."""
FALLS_AT = 600
"""Sample of the worsening trace at which the heart rate falls, at 1 Hz."""
GROUP = 50
"""Requests that are sent before their answers are waited for."""
Trace = Callable[[int], float | str]
"""Number of a sample -> heart rate, beats/min."""


@dataclass(slots=True, kw_only=True)
class ServiceBench:
    """An ML service under test."""

    target: Target
    tasks: TaskGroup
    """Lives as long as the run: reads the open connections."""
    timeout_s: float = 3.0
    ml_format: Literal["nested", "flat"] = "nested"
    only_flat: bool = False
    """The service was asked nested requests, and takes only flat ones."""
    lacks: dict[str, str] = field(default_factory=dict)
    pulse: Pulse = field(default_factory=Pulse)
    answered: bool = False
    """Whether it answered a plain request at the beginning."""

    @property
    def offered(self) -> frozenset[str]:
        """Nothing: all that a check of a service needs is its URL."""
        return frozenset()

    @property
    def moved_at_s(self) -> float:
        """When something last came from the service, loop time in seconds."""
        return self.pulse.at_s

    async def learn(self) -> None:
        """See whether it answers, and in which format."""
        self.answered = await self._answers()
        if not self.answered and self.ml_format == "nested":
            self.ml_format = "flat"
            self.answered = self.only_flat = await self._answers()
            if not self.only_flat:
                self.ml_format = "nested"

    async def _answers(self) -> bool:
        try:
            async with self.talk() as talk:
                (answer,) = await talk.ask(self.request(new_sensor(), 10.0, 140.5))
        except (Mismatch, OSError):
            return False
        return isinstance(answer, dict) and "sensorID" in answer

    async def alive(self) -> bool:
        """Return whether something listens at the target."""
        return await answers(self.target, 0.0, max(5.0, self.timeout_s))

    async def prepare(self) -> None:
        """Nothing is left from the last check: each has its own connection and sensors."""

    async def ailment(self) -> str:
        """Return what the service no longer does, although it did at the beginning."""
        if not self.answered or await self._answers() or await self._answers():
            return ""
        return "the service no longer answers a plain request"

    async def revive(self) -> bool:
        """Nobody said how to restart it."""
        return False

    @asynccontextmanager
    async def talk(self) -> AsyncIterator["Talk"]:
        """Connect as the backend does."""
        try:
            connection: ClientConnection = await dial(
                self.target.socket_url,
                open_timeout_s=OPEN_PATIENCE * self.timeout_s,
                max_queue=None,
                pings=False,
            )
        except NotConnected as error:
            raise Mismatch("a WebSocket", error.reason) from error
        line = Line(connection, self.timeout_s, self.pulse)
        self.tasks.create_task(line.read())
        try:
            yield Talk(line, self.ml_format)
        finally:
            await connection.close()

    def request(self, sensor_id: str, sec: float, fhr: float | str, uterus: float = 15.25) -> str:
        """Return a request in the service's format."""
        return request(self.ml_format, sensor_id, sec, fhr, uterus)


def request(
    ml_format: str, sensor_id: str, sec: float, fhr: float | str, uterus: float = 15.25
) -> str:
    """Return a request, nested or flat."""
    if ml_format == "nested":
        return sample(sec, fhr, uterus, sensor_id=sensor_id)
    fhr = 0 if fhr == "null" else fhr
    return (
        f'{{"sensorID": "{sensor_id}", "secFromStart": {sec},'
        f' "BPMChild": {fhr}, "uterus": {uterus}, "spasms": 0.5}}'
    )


class Talk:
    """One connection to the service."""

    def __init__(self, line: Line, ml_format: str) -> None:
        self.line, self.ml_format = line, ml_format

    async def ask(self, *requests: str | bytes) -> list[Any]:
        """Send requests and return as many parsed answers."""
        first = len(self.line.received)
        for start in range(0, len(requests), GROUP):
            await self.line.send(*requests[start : start + GROUP])
            wanted = min(start + GROUP, len(requests))
            await self._answers(first, wanted)
        return [parsed(text) for text in self.line.received[first:]]

    async def _answers(self, first: int, wanted: int) -> None:
        def count() -> int:
            return len(self.line.received) - first

        def actual() -> str:
            return f"{count()}, {self.line.seen()}"

        await until(
            lambda: count() >= wanted or self.line.code is not None,
            f"{wanted} answers",
            actual,
            self.line.timeout_s,
        )
        if count() < wanted:
            raise Mismatch(f"{wanted} answers", actual())

    async def play(
        self, sensor_id: str, begin_s: float, end_s: float, rate_hz: float, fhr: Trace
    ) -> list[Any]:
        """Play a trace and return the answers."""
        secs = [round(begin_s + n / rate_hz, 3) for n in range(round((end_s - begin_s) * rate_hz))]
        return await self.ask(
            *(
                request(self.ml_format, sensor_id, sec, fhr(n), 10 + n % 5)
                for n, sec in enumerate(secs)
            )
        )

    async def predicted(self, fhr: Trace, end_s: float = ENOUGH_S) -> tuple[str, float, list[Any]]:
        """Play a trace from 10 s to *end_s*, in which a prediction is expected.

        Returns
        -------
        sensor_id : str
        rate_hz : float
            1; 4 for a service that predicts nothing at 1.
        answers : list

        Raises
        ------
        Skip
            When there is none: another check says whether there should be.
        """
        for rate_hz in (1.0, 4.0):
            sensor_id = new_sensor()
            answers = await self.play(sensor_id, 10, end_s, rate_hz, fhr)
            if any(has_prediction(a) for a in answers):
                return sensor_id, rate_hz, answers
        raise Skip("the service made no prediction in 7 minutes of data time")


def has_prediction(answer: Any) -> bool:
    """Return whether an answer carries a prediction."""
    return isinstance(answer, dict) and bool(answer.get("prediction"))


def calm(n: int) -> float:
    """Return a heart rate that goes about 146."""
    return 140 + (n * 7) % 13


def worsening(n: int) -> float:
    """Return a calm heart rate that falls to 60 and stays there for more than seven minutes."""
    return calm(n) if n < FALLS_AT else 60 + n % 3


def new_sensor() -> str:
    """Return an id that the service has never heard of."""
    return str(uuid.uuid4())
