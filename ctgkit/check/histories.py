"""Random histories of one sensor: what to do, and what each frame of it looks like.

This module performs no I/O. Hypothesis draws steps without data times, so that it can shrink
them; the frames follow when a history is played.
"""

import json
from collections.abc import Collection
from typing import Any, Protocol

from hypothesis import strategies as st

from ctgkit.check.backend.samples import BEYOND, GOOD, MALFORMED
from ctgkit.check.messages import BAD_SEC, sample

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
_EXCUSED_BY = {"again": "S-1.4", "array": "S-4.5", "value": "S-4.7", "noise": "S-4.8"}
"""Kind of step -> the clause whose exceptions take it out of the histories."""


def steps(excused: Collection[str] = ()) -> st.SearchStrategy[Step]:
    """Return what to draw, without what breaks clauses in checks that are *excused*."""
    clauses = {check_id.partition("/")[0] for check_id in excused}
    good = [name for name in sorted(GOOD) if name not in excused]
    bad = [name for name in sorted(BAD) if not {f"S-4.7/{name}", f"S-4.8/{name}"} & set(excused)]
    kinds: dict[str, st.SearchStrategy[Step]] = {
        "good": st.tuples(st.just("good"), st.sampled_from(good or ["S-4.1/text"])),
        "bad": st.tuples(st.just("bad"), st.sampled_from(bad or ["json"])),
        "value": st.tuples(st.just("value"), st.tuples(_number, _number)),
        "array": st.tuples(st.just("array"), st.lists(st.booleans(), max_size=5)),
        "noise": st.tuples(st.just("noise"), NOISE),
        **{how: st.tuples(st.just(how), st.none()) for how in PARTINGS},
    }
    return st.one_of(
        *(kind for name, kind in kinds.items() if _EXCUSED_BY.get(name) not in clauses)
    )


STEPS = steps()

NUMBERED: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 6)),
    st.tuples(st.just("gap"), st.integers(1, 1000)),
    st.tuples(st.just("resend"), st.integers(1, 6)),
    st.tuples(st.just("reject"), st.sampled_from(sorted(BEYOND))),
    st.tuples(st.just("array"), st.lists(st.booleans(), min_size=1, max_size=5)),
    st.tuples(st.sampled_from(("settle", "unnumbered", *PARTINGS)), st.none()),
)
"""Steps of a sensor that speaks ``ctgkit.v1``: new samples, numbers left out, samples sent again,
bad ones, one without number; wait for what is owed, or leave."""


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
