"""Results that repeat the one before are left out, and made again when somebody asks (M-4.3)."""

import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.errors import StoreError
from ctgkit.samples import Sample
from ctgkit.server.repeats import HELD_MAX_CHARS, RUN_MAX, RUN_MAX_S, Repeats, ResultRow
from ctgkit.server.store import schema
from ctgkit.server.store.reader import open_reader
from ctgkit.server.store.series import Series
from tests.server.parties import SENSORS, backend_on, message, ml_service, result, sensor, viewer

SAID = (
    {"prediction": None, "status": "ok"},
    {"prediction": {"hypoxia_probability": 0.6, "alerts": ["é"]}, "status": "warning"},
    {"prediction": None, "status": "ok", "events": [{"kind": "acceleration"}]},
    {"prediction": None, "status": "ok", "note": "x" * HELD_MAX_CHARS},
)


def text_of(sensor_id, second, said, value=140.0, at="t"):
    data = {"BPMChild": value, "uterus": 1.0, "spasms": 0.0}
    own = {"sensorID": sensor_id, "secFromStart": second, "data": data, "timestamp": at}
    return json.dumps(own | said)


def bare(body):
    """Return what may not change: all but when it was said, and the mark."""
    members = json.loads(body)
    return {k: v for k, v in members.items() if k not in ("timestamp", "repeated")}


STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(SAID), st.booleans(), st.floats(0, RUN_MAX_S / 3),
        st.sampled_from([0.0, 0.25, 0.25, 0.25, 0.1, -3.0]),
    ),
    max_size=80,
)  # fmt: skip


@given(STEPS, st.booleans())
def test_what_is_left_out_comes_back(steps, keep_all):
    """Whatever repeats, changes, comes late or out of order: the series of each sensor is whole."""
    repeats, now_s = Repeats(keep_all=keep_all), 0.0
    rows, expected, samples = [], {"a": [], "b": []}, {"a": [], "b": []}
    for name, said, answers, pause_s, step in steps:
        now_s += pause_s
        rows += repeats.due(now_s)
        second = max(0.0, (samples[name][-1][0].sec_from_start if samples[name] else 0.0) + step)
        value = 100.0 + len(samples[name])
        if any(s.sec_from_start == second for s, _ in samples[name]):
            value = next(s.fhr_bpm for s, _ in samples[name] if s.sec_from_start == second)
        samples[name].append((Sample(name, second, value, 1.0, 0.0), "later"))
        body = text_of(name, second, said, value)
        expected[name].append(bare(body))
        row = ResultRow(1, name, second, said["status"], body)
        rows += repeats.take(row, body.encode(), now_s, answers=answers)
    rows += repeats.end()
    for name, wanted in expected.items():
        series = Series(lambda name=name: iter(samples[name]))
        got = [t for r in rows if r.sensor_id == name for t in series.take(r.body, r.repeated)]
        assert [bare(body) for body in got] == wanted


def play(repeats, seconds, said=SAID[0], exam=1, at_s=0.0, name="a"):
    rows = []
    for second in seconds:
        body = text_of(name, second, said)
        row = ResultRow(exam, name, second, "ok", body)
        rows += repeats.take(row, body.encode(), at_s, answers=True)
    return rows


def test_a_run_ends_in_time():
    """By its length, by its age, with its examination; a crash loses no more than one of them."""
    repeats = Repeats(keep_all=False)
    assert len(play(repeats, [n / 4 for n in range(RUN_MAX + 1)])) == 2
    assert play(repeats, [70.0, 70.25], at_s=5.0) == []
    assert list(repeats.due(5.0 + RUN_MAX_S / 2)) == []
    (row,) = repeats.due(5.0 + RUN_MAX_S)
    assert (row.sec_from_start, len(row.repeated)) == (70.25, 8)
    assert play(repeats, [71.0]) == []
    assert list(repeats.end(2)) == []
    (ended, begun) = play(repeats, [0.0], exam=2)
    assert (ended.examination_id, ended.sec_from_start, begun.examination_id) == (1, 71.0, 2)


def test_rows_of_two_nodes_may_lie_between_one_another():
    """A sensor that moved: what the older node still held is written after the newer one's."""
    older, newer = Repeats(keep_all=False), Repeats(keep_all=False)
    samples = [(Sample("a", n / 4, 140.0, 1.0, 0.0), "t") for n in range(40)]
    rows = play(older, [n / 4 for n in range(10)])
    rows += play(newer, [n / 4 for n in range(10, 20)], SAID[1])
    rows += older.end()
    rows += play(newer, [5.0, 5.25, 5.5], SAID[1])
    rows += newer.end()
    series = Series(lambda: iter(samples))
    got = [json.loads(t) for row in rows for t in series.take(row.body, row.repeated)]
    assert sorted((t["secFromStart"], t["status"]) for t in got) == [
        (n / 4, "ok" if n < 10 else "warning") for n in range(23)
    ]


def test_samples_far_back_and_missing_ones():
    """A result of a sample that was stored long before is found; of one that isn't stored, left."""
    samples = [(Sample("a", n / 4, 100.0 + n % 50, None, None), "t") for n in range(9_000)]
    series = Series(lambda: iter(samples))
    assert list(series.take(text_of("a", 0.0, SAID[0]), None))
    packed = Repeats(keep_all=False)
    rows = play(packed, [0.0, 2249.75, 0.25, 5_000.0, 0.5])
    rows += packed.end()
    texts = [json.loads(t) for row in rows[1:] for t in series.take(row.body, row.repeated)]
    assert [t["secFromStart"] for t in texts] == [2249.75, 0.25, 0.5]
    assert [t["data"]["BPMChild"] for t in texts] == [149.0, 101.0, 140.0]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("keep", ["changes", "all"])
async def test_a_backend_stores_changes_and_exports_all(tmp_path, keep):
    """Two rows of forty repeated results, or all; the reader and its count give forty."""
    path = tmp_path / "ctg.db"

    def answer(request):
        critical = 5 <= request["secFromStart"] < 7
        return [result(request, status="critical" if critical else "ok")]

    async with (
        ml_service(answer) as url,
        backend_on(path, ml_url=url, keep_results=keep) as backend,
        viewer(backend) as v,
        sensor(backend) as s,
    ):
        await backend.ml_connected()
        for seq in range(40):
            await s.send(message(seq, fhr=100.0 + seq))
        heard = [await v.recv() for _ in range(40)]
    with open_reader(path) as reader:
        read = list(reader.predictions(1))
        assert reader.examination(1)["predictions"] == 40
    assert [bare(t) for t in read] == [bare(t) for t in heard]
    rows = [body for (body,) in sqlite3.connect(path).execute("SELECT body FROM predictions")]
    assert set(rows) <= set(heard)
    assert len(rows) == (40 if keep == "all" else 6)
    marked = [json.loads(t).get("repeated", False) for t in read]
    assert marked.count(True) == 40 - len(rows)


async def test_what_an_earlier_version_stored_is_read(tmp_path):
    """A database that has a row for every result, before and after it is brought up to date."""
    path = tmp_path / "ctg.db"
    older = schema.REPEATS_SINCE - 1
    with sqlite3.connect(path) as db:
        for statement in [one for step in schema.MIGRATIONS[:older] for one in step]:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {older}")
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute("INSERT INTO sensors (uuid) VALUES (?)", (SENSORS[0].id,))
        db.execute("INSERT INTO examinations (end_time) VALUES ('2026-01-01T00:00:00Z')")
        for second in range(3):
            body = text_of(SENSORS[0].id, float(second), SAID[0])
            row = "(examination_id, sensor_id, sec_from_start, status, body)"
            db.execute(f"INSERT INTO predictions {row} VALUES (1, 1, ?, 'ok', ?)", (second, body))
    for _ in range(2):
        with open_reader(path) as reader:
            assert len(list(reader.predictions(1))) == reader.examinations()[0]["predictions"] == 3
        async with backend_on(path):
            pass
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*), count(repeated) FROM predictions").fetchone() == (3, 0)
        db.execute("UPDATE predictions SET repeated = X'00' WHERE id = 2")
    with open_reader(path) as reader, pytest.raises(StoreError, match="damaged"):
        list(reader.predictions(1))
