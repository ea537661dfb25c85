"""What the live page reads: past, marks, notes, examinations; read by another hand."""

import asyncio
import json
import math
import sqlite3
import struct
import urllib.error
import urllib.request
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.display import REORDER_S
from ctgkit.dsn import Dsn
from ctgkit.server.pageasks import events_of, packed
from ctgkit.server.store.archive import _TEXTS
from ctgkit.server.store.lookback import FALL_S, Place, newest_place, read_page, taken
from tests.conftest import TIME_FACTOR
from tests.extras import need
from tests.server.parties import SENSORS, acked, backend_on, message, ml_service, result, sensor


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    """Whatever it is, the page looks back the same way."""
    if request.param == "sqlite":
        return tmp_path / "ctg.db"
    return Dsn(asyncio.run(request.getfixturevalue("postgres").database()))


def get(backend, name, headers=(), **query):
    """Ask as a browser does; return status, body."""
    url = f"{backend.url}/api/page/{name}?{urlencode(query)}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def asked(backend, name, headers=(), **query):
    return await asyncio.to_thread(get, backend, name, headers, **query)


async def asked_json(backend, name, **query):
    status, body = await asked(backend, name, **query)
    assert status == 200, body
    return json.loads(body)


def unpacked(body):
    """Read the format as docs/views.md describes it: sensor -> [(bin, fhr lo, hi, toco lo, hi)]."""
    line, _, rest = body.partition(b"\n")
    at, found = 0, []
    for said in json.loads(line)["sensors"]:
        bins = []
        for _, runs in said["pages"]:
            numbers = [first + k for first, n in runs for k in range(n)]
            columns = []
            for _ in range(4):
                columns.append(struct.unpack_from(f"<{len(numbers)}H", rest, at))
                at += 2 * len(numbers)
            values = [[None if v == 65535 else round(v / 100 - 100, 2) for v in c] for c in columns]
            bins += zip(numbers, *values, strict=True)
        found.append((said, bins))
    assert at == len(rest)
    assert (len(line) + 1) % 2 == 0
    return found


async def send(connection, rows, first_seq=1):
    for seq, (t_s, fhr) in enumerate(rows, first_seq):
        await connection.send(message(seq, t_s, fhr))
    await acked(connection, first_seq + len(rows) - 1)


async def test_past_of_all(database):
    """Least and largest of each second, gaps without a bin, lost signal without a value."""
    rows = [(n / 4, 140.0 + n % 4) for n in range(40)]
    rows += [(20 + n / 4, None if n < 4 else 95.5) for n in range(8)]
    async with backend_on(database) as backend, sensor(backend) as s:
        await send(s, rows)
        status, body = await asked(backend, "past", seconds=3600, bin=1)
        assert status == 200
        ((about, bins),) = unpacked(body)
        assert (about["id"], about["bed"], about["examination"]) == (SENSORS[0].id, "one", 1)
        assert bins[:10] == [(n, 140.0, 143.0, 10.0, 10.0) for n in range(10)]
        assert bins[10:] == [(20, None, None, 10.0, 10.0), (21, 95.5, 95.5, 10.0, 10.0)]
        assert about["next"] is None
        ((_, late),) = unpacked((await asked(backend, "past", seconds=1, bin=1))[1])
        assert late[-1] == bins[-1]
        assert len(late) < len(bins)


async def test_pages_lead_back_to_the_beginning(database):
    """Each piece begins where the one after it ended: nothing is missing, nothing comes twice."""
    rows = [(n / 4, 120.0 + n % 50) for n in range(1000)]
    async with backend_on(database) as backend, sensor(backend) as s:
        await send(s, rows)
        query = {"examination": 1, "sensor": SENSORS[0].id, "seconds": 20, "bin": 0.25}
        seen, pieces = [], 0
        while True:
            ((about, bins),) = unpacked((await asked(backend, "past", **query))[1])
            seen = bins + seen
            pieces += 1
            if about["next"] is None:
                break
            query["before"] = about["next"]
        assert [(b / 4, lo) for b, lo, *_ in seen] == rows
        assert pieces > 5


async def test_time_that_falls_back_is_another_recording(database):
    """The newest recording alone is shown; where the one before it ends is said."""
    async with backend_on(database, grace_s=60) as backend:
        async with sensor(backend) as s:
            await send(s, [(n / 4, 150.0) for n in range(100)])
            await send(s, [(n / 4, 130.0) for n in range(20)], first_seq=1000)
        ((about, bins),) = unpacked((await asked(backend, "past", seconds=3600))[1])
        assert [b[1:3] for b in bins] == [(130.0, 130.0)] * 5
        assert about["fell"]
        query = {"examination": 1, "sensor": SENSORS[0].id, "before": about["next"]}
        ((_, before),) = unpacked((await asked(backend, "past", **query))[1])
        assert [b[1] for b in before] == [150.0] * 25


async def test_marks_and_notes_are_kept(tmp_path):
    """Results' events survive in the store, of each the last word; so do notes."""

    def answer(request):
        n = int(request["secFromStart"])
        event = {"kind": "deceleration", "onset_s": 1, "end_s": 2 + n, "id": "d1", "more": "x" * 99}
        return [result(request, **({"events": [event, 7]} if n % 2 else {}))]

    path = tmp_path / "ctg.db"
    async with ml_service(answer) as url, backend_on(path, ml_url=url, grace_s=60) as backend:
        await backend.ml_connected()
        async with sensor(backend) as s:
            await send(s, [(float(n), 140.0) for n in range(8)])
        while (await asked_json(backend, "marks"))["examinations"][0]["events"] == {}:
            await asyncio.sleep(0.05)
        note = {
            "examination": 1,
            "sensor": SENSORS[0].id,
            "sec": 3.5,
            "text": "<b>Öffnung</b> 5 см",
        }
        kept = (await asked_json(backend, "note", **note))["note"]
        assert (await asked(backend, "note", **note | {"examination": 99}))[0] == 404
        assert (await asked(backend, "note", **note | {"text": "x" * 401}))[0] == 400
        assert (await asked(backend, "note", **note | {"sec": "nan"}))[0] == 400
    async with backend_on(path, grace_s=60) as backend:
        (found,) = (await asked_json(backend, "marks", examination=1))["examinations"]
        (event,) = found["events"][SENSORS[0].id]
        assert event == {"kind": "deceleration", "onset_s": 1, "end_s": 9, "id": "d1"}
        assert found["notes"] == [kept]
        assert found["next"] is None
        with sqlite3.connect(path) as db:  # what somebody else wrote there is no note of ours
            db.execute("UPDATE examinations SET notes = 'by hand' || char(10) || notes || '[1]'")
        (found,) = (await asked_json(backend, "marks", examination=1))["examinations"]
        assert found["notes"] == [kept]


async def test_examinations_are_listed_and_found(database):
    async with backend_on(database) as backend:
        for number in (0, 2):
            async with sensor(backend, number) as s:
                await send(s, [(0.0, 140.0)])
        await asked(backend, "note", examination=1, sensor=SENSORS[0].id, sec=0, text="Осмотр")

        async def found(search):
            answer = await asked_json(backend, "examinations", search=search)
            return [row["id"] for row in answer["examinations"]]

        assert await found("") == [2, 1]
        assert await found("two") == [2]
        assert await found(SENSORS[0].id[:8]) == [2, 1]
        assert await found("осмотр") == [1]
        assert await found("%") == []
        older = await asked_json(backend, "examinations", before=2)
        assert [s["id"] for s in older["examinations"][0]["sensors"]] == [SENSORS[0].id]


@pytest.mark.parametrize(
    ("name", "query"),
    [("past", {"bin": "0"}), ("past", {"bin": "nan"}), ("past", {"seconds": "1e9"}),
     ("past", {"seconds": "x"}), ("past", {"examination": 1}), ("past", {"before": "1s1"}),
     ("past", {"examination": "1e5", "sensor": "a"}), ("marks", {"before": 1}),
     ("past", {"examination": 1, "sensor": "a", "before": "1;DROP"}), ("note", {}),
     ("past", {"examination": "9" * 19, "sensor": "a"}), ("marks", {"examination": "-1"})],
)  # fmt: skip
async def test_what_is_no_question_is_refused(database, name, query):
    async with backend_on(database) as backend:
        status, body = await asked(backend, name, **query)
        assert (status, "error" in json.loads(body)) == (400, True)


async def test_unknown_ones_have_nothing(database):
    async with backend_on(database) as backend:
        ((_, bins),) = unpacked((await asked(backend, "past", examination=5, sensor="x"))[1])
        assert bins == []
        assert unpacked((await asked(backend, "past"))[1]) == []
        assert (await asked(backend, "nothing"))[0] == 404


async def test_same_gate_as_for_viewers(database):
    """Token, Origin, Host and Sec-Fetch-Site; HEAD and others change nothing."""
    async with backend_on(database, viewer_token="sesame") as backend:
        bearer = {"Authorization": "Bearer sesame"}
        for name in ("ward", "past", "marks", "examinations", "note"):
            assert (await asked(backend, name))[0] == 401
            assert (await asked(backend, name, {"Authorization": "Bearer other"}))[0] == 401
            for foreign in (
                {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"},
                {"Host": "evil.example"},
            ):  # fmt: skip
                assert (await asked(backend, name, bearer | foreign))[0] == 403
        assert (await asked(backend, "ward", bearer))[0] == 200


def test_one_meaning_of_a_fall():
    assert FALL_S == REORDER_S


COLUMNS = "examination_id, sensor_id, stream_id, seq, sec_from_start, bpm, uterus, spasms"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1, 3]),
            st.booleans(),
            st.sampled_from([0.25, 0.25, 0.25, 0.5, 3.0, 60.0, -500.0]),
            st.one_of(st.none(), st.sampled_from([140.0, 60.25, 300.5, 0.0, "x", b"x"])),
        ),
        max_size=120,
    ),
    st.integers(1, 9),
    st.sampled_from([0.25, 1.0, 7.0]),
)
def test_pages_hold_what_the_rows_hold(rows, rows_max, bin_s):
    """Whatever anybody stored: every row's value is in exactly one page, and none is made up."""
    db = sqlite3.connect(":memory:")
    db.execute(
        "CREATE TABLE ctg (id INTEGER PRIMARY KEY, examination_id INTEGER, sensor_id INTEGER,"
        " stream_id INTEGER, seq INTEGER, sec_from_start REAL, bpm REAL, uterus REAL, spasms REAL)"
    )
    t_s, stored = 0.0, []
    for n, (stream, numbered, step, bpm) in enumerate(rows):
        t_s = max(0.0, t_s + step)
        stored.append((1, 2, stream, n if numbered else None, t_s, bpm, 5.0, None))
    db.executemany(f"INSERT INTO ctg ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", stored)

    def ask(sql, values):
        return db.execute(sql, values).fetchall()

    place, seen, pages = taken(newest_place(_TEXTS, 1, 2), ask), [], 0
    while place is not None:
        page = taken(read_page(_TEXTS, 1, 2, place, bin_s, rows_max), ask)
        seen += [int(b) for b in page.bins]
        for b, (lo, hi, *_) in zip(page.bins, page.values.tolist(), strict=True):
            inside = [
                v for *_, s, v, _, _ in stored
                if int(s / bin_s) == b and isinstance(v, float) and 20 <= v <= 300
            ]  # fmt: skip
            for value in (lo, hi):
                assert math.isnan(value) or value in inside
        assert unpacked(packed([({}, [page])]))
        assert page.earlier != place
        place, pages = page.earlier, pages + 1
    db.close()
    assert pages <= len(rows)
    assert set(seen) == {int(row[4] / bin_s) for row in stored}


@given(st.integers(0, 10**18 - 1), st.booleans(), st.integers(0, 10**18 - 1))
def test_places_survive_the_address(stream, numbered, at):
    place = Place(stream, numbered, at)
    assert Place.parse(str(place)) == place


def test_events_of_others_are_bounded():
    """Whatever a service calls an event, little of it goes to the page."""
    event = {"id": "x" * 9999, "kind": ["a"], "onset_s": 1, "end_s": 2, "subtype": {"a": 1}}
    bodies = [json.dumps({"sensorID": "A", "events": [event, None]}), "[]", "{", '{"events": 1}']
    (found,) = events_of(bodies)["a"]
    assert found == {"id": "x" * 100, "kind": None, "onset_s": 1, "end_s": 2, "subtype": None}


async def test_paper_for_the_page(database):
    """What is seen is drawn as PDF by a process beside; others' odd events are left out."""
    need("matplotlib")

    def answer(request):
        events = [{"kind": "acceleration", "onset_s": 5, "end_s": 20, "id": "a"}, {"kind": 3}]
        return [result(request, **({"events": events} if request["secFromStart"] == 30 else {}))]

    async with (
        ml_service(answer) as url,
        backend_on(database, ml_url=url) as backend,
        sensor(backend) as s,
    ):
        await send(s, [(n / 4, 140.0) for n in range(240)])
        assert (await asked_json(backend, "ward"))["paper"] is True
        wanted = {"examination": 1, "sensor": SENSORS[0].id, "from": 0, "to": 60, "speed": 3}
        async with asyncio.timeout(60 * TIME_FACTOR):
            while (found := await asked(backend, "paper", **wanted))[0] == 202:
                assert json.loads(found[1]) == {"status": "drawing"}
        assert (found[0], found[1][:5]) == (200, b"%PDF-")

        async def fetched():
            while (found := await asked(backend, "paper", **wanted | {"to": 59}))[0] == 202:
                pass
            return found[0], found[1][:5]

        async with asyncio.timeout(60 * TIME_FACTOR):  # two pages that want the same sheets
            assert await asyncio.gather(fetched(), fetched()) == [(200, b"%PDF-")] * 2
        wrong = ({"speed": 4}, {"range": 9}, {"to": 1e9}, {"sensor": "x y"}, {"from": 61})
        for change in wrong:
            assert (await asked(backend, "paper", **wanted | change))[0] == 400, change
        assert (await asked(backend, "paper", **wanted | {"examination": 9}))[0] == 404
