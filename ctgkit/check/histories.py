"""Random histories of one sensor: what to do, and what each frame of it looks like.

This module performs no I/O. Hypothesis draws steps without data times, so that it can shrink
them; the frames follow when a history is played.
"""

import json
from typing import Any, Protocol

from hypothesis import strategies as st

from ctgkit.check.backend.samples import BAD_SEC, BEYOND, GOOD, MALFORMED
from ctgkit.check.messages import sample

HISTORY_MAX = 25
"""Steps of one history: far from the hundred bad frames that close a connection."""

BAD: dict[str, str | bytes] = {**{name: frame for name, (_, frame) in MALFORMED.items()}, **BEYOND}
Step = tuple[str, Any]
"""What to do (good, bad, value, array, noise, leave, drop, again), and with what."""
PARTINGS = ("leave", "drop", "again")
"""Steps that end a connection: politely, abruptly, by connecting once more."""

LETTERS = '{}[]",:\\/0123456789.-+eEnulltrfas \t\n\x00\x7fйё°\u2028\ufeff\uffff😀'
"""What texts are drawn of: what JSON is made of and what trips its readers. All of Unicode would
take Hypothesis seconds to tabulate, in every new directory."""
NOISE = st.text(LETTERS, max_size=40) | st.binary(max_size=40)

_number = st.one_of(
    st.floats(-60, 320, width=32), st.floats(), st.sampled_from([0, 20, 300, 19.99, 300.01, -50])
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("good"), st.sampled_from(sorted(GOOD))),
    st.tuples(st.just("bad"), st.sampled_from(sorted(BAD))),
    st.tuples(st.just("value"), st.tuples(_number, _number)),
    st.tuples(st.just("array"), st.lists(st.booleans(), max_size=5)),
    st.tuples(st.just("noise"), NOISE),
    st.tuples(st.sampled_from(PARTINGS), st.none()),
)


class DataTimes(Protocol):
    """Who knows which data times are still free."""

    def sec(self) -> float:
        """Return a data time that no sample had, seconds."""
        ...

    def leap(self, seconds: float) -> float:
        """Return the start of a stretch that no other sample has, seconds."""
        ...


def frame_of(step: Step, times: DataTimes) -> tuple[str | bytes, list[float]]:
    """Return the frame of a step that sends one, and the data times of the good samples in it."""
    what, detail = step
    match what:
        case "bad":
            return BAD[detail], []
        case "noise":
            return detail, []
        case "good":
            sec = float(int(times.leap(2)) + 1)
            return GOOD[detail][1](sec), [sec]
        case "value":
            fhr, uterus = detail
            valid = (fhr == 0 or 20 <= fhr <= 300) and -50 <= uterus <= 300
            secs = [times.sec()] if valid else []
            return sample(secs[0] if valid else BAD_SEC, json.dumps(fhr), json.dumps(uterus)), secs
    secs, items = [], []
    for good in detail:
        if good:
            secs.append(times.sec())
        items.append(sample(secs[-1]) if good else sample(BAD_SEC, 999))
    return f"[{', '.join(items)}]", secs
