"""A small ML service that keeps PROTOCOL.md, and the ways in which it can be told to break it."""

import json
import math
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

RISKS = ("low", "medium", "high", "critical")


class SmallService:
    """Its prediction: the further from 140 beats/min, the worse."""

    def __init__(self, bug):
        self.bug = bug
        self.followed = {}

    async def handle(self, connection):
        with suppress(ConnectionClosed):
            async for text in connection:
                try:
                    answer = self.answer(json.loads(text, parse_constant=float))
                except (ValueError, TypeError, KeyError, RecursionError) as error:
                    if self.bug == "dies on a bad request":
                        raise
                    if self.bug == "ignores what is no JSON" and isinstance(error, ValueError):
                        continue
                    answer = {"status": "error", "message": str(error), "timestamp": self.now()}
                await connection.send(json.dumps(answer))
                if self.bug == "answers twice" and answer.get("secFromStart") == 20:
                    await connection.send(json.dumps(answer))

    def now(self):
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")[:-6]
        return stamp if self.bug == "forgets the Z" else stamp + "Z"

    def answer(self, request):
        own, sec, data = request["sensorID"], request["secFromStart"], request["data"]
        fhr = data["BPMChild"]
        numbers = (sec, *(v for v in (fhr, data["uterus"], data["spasms"]) if v is not None))
        if not isinstance(own, str) or any(
            isinstance(n, bool) or not math.isfinite(n) for n in numbers
        ):
            raise ValueError("bad sample")
        key = "all" if self.bug == "mixes sensors" else own
        state = self.followed.get(key)
        if state is None or (sec < state["last"] - 60 and self.bug != "never forgets"):
            state = {"start": sec, "due": sec + 300, "prediction": None, "n": 0}
            self.followed[key] = state
        state["last"] = sec
        state["n"] += 1
        due = sec >= state["due"]
        if self.bug == "counts samples":
            due = state["n"] >= 1200 and state["n"] % 120 == 0
        if self.bug == "predicts at once" and state["n"] == 60:
            due = True
        if self.bug == "predicts every sample" and sec >= state["start"] + 300:
            due = True
        if due:
            state["due"] = sec + 30
            state["prediction"] = self.predict(fhr, state["n"])
        p = (state["prediction"] or {}).get("hypoxia_probability", 0)
        above = (p >= 0.5) + (p > 0.8) if self.bug == "warns too late" else (p > 0.5) + (p > 0.8)
        status = "ok" if self.bug == "never warns" else ("ok", "warning", "critical")[above]
        data = data | ({"BPMChild": 0} if self.bug == "answers 0" else {})
        body = {"sensorID": own, "secFromStart": sec, "data": data}
        rest = {"prediction": state["prediction"], "status": status, "timestamp": self.now()}
        return body | rest

    def predict(self, fhr, n):
        p = round(min(0.99, abs((fhr or 140) - 140) / 50 + n % 7 / 100), 3)
        prediction = {
            "hypoxia_probability": p,
            "hypoxia_risk": RISKS[(p > 0.3) + (p > 0.5) + (p > 0.8)],
            "alerts": [],
            "confidence": 5 if self.bug == "is too sure" else 0.5,
            "recommendations": [],
        }
        if self.bug == "renames a member":
            prediction["probability"] = prediction.pop("hypoxia_probability")
        return prediction


@asynccontextmanager
async def small_service(bug=""):
    """Run the service on a free port and yield its URL."""
    async with serve(
        SmallService(bug).handle, "127.0.0.1", 0, compression=None, close_timeout=0.5
    ) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/ctg"
