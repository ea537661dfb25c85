"""PostgreSQL as the store: one node, and several on one database, with a real server."""

import asyncio
import json
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ctgkit.dsn import Dsn
from ctgkit.errors import StoreError
from ctgkit.samples import Sample
from ctgkit.server.registry import LocalRegistry
from ctgkit.server.session import Session
from ctgkit.server.settings import BackendSettings
from ctgkit.server.store.engine import Again, Group, Question
from ctgkit.server.store.sqlite import open_store
from tests.conftest import TIME_FACTOR
from tests.flow.processes import ask, until
from tests.postgres import query
from tests.server.parties import (
    SENSORS,
    acked,
    backend_on,
    closed_with,
    message,
    ml_service,
    sensor,
    viewer,
)

BEDS = {s.id: s.bed for s in SENSORS}
COUNT = "SELECT count(*), count(DISTINCT (sensor_id, stream_id, seq)) FROM samples"


@asynccontextmanager
async def node_on(dsn, name="a", **more):
    """Run a store and a registry as one node, without sockets."""
    from ctgkit.server.store.postgres.opening import open_postgres

    chosen = BackendSettings(sensors=SENSORS, database=Dsn(dsn), node=name, **more)
    digests = {s.id: bytes(32) for s in SENSORS}
    async with open_postgres(chosen.database, chosen, digests, BEDS) as (store, registry):
        tasks = [asyncio.ensure_future(part) for part in (store.run(), registry.run())]
        await registry.start()
        try:
            yield store, registry
        finally:
            store.stop()
            await tasks[0]
            tasks[1].cancel()
            await asyncio.wait(tasks)
            await registry.stop()


class Hears:
    """A connection that hears what became of its samples."""

    patient = False

    def __init__(self, attendance):
        self.attendance, self.acks, self.outcomes = attendance, [], []

    def ack(self, seq):
        if not self.attendance.stale:
            self.acks.append(seq)

    def settle(self, sample, outcome):
        self.outcomes.append(outcome)


def reading(sensor_id, seq, sec=None, bpm=140.0):
    return Sample(sensor_id, (seq or 0) / 4 if sec is None else sec, bpm, 10.0, None, seq)


def put(store, hears, *seqs, **values):
    """Queue samples as the backend does."""
    for seq in seqs:
        sample = reading(hears.attendance.sensor_id, seq, **values)
        match hears.attendance.admit(seq):
            case "new":
                store.add_sample(hears.attendance, sample)
                if seq is not None:
                    store.acknowledge(hears, seq)
            case "question":
                store.ask(hears.attendance, sample, hears)


async def claimed(registry, number=0, stream=None, *, numbered=True):
    return Hears(await registry.claim(SENSORS[number].id, stream, numbered=numbered))


async def test_what_is_acknowledged_is_in_the_database(postgres):
    dsn = await postgres.database()
    async with backend_on(Dsn(dsn), node="here") as backend:  # noqa: SIM117
        async with sensor(backend) as one, sensor(backend, 1, v1=False) as plain:
            for seq in range(5):
                await one.send(message(seq))
            await acked(one, 4)
            assert (await query(dsn, COUNT))[0] == (5, 5)
            await plain.send(message(None, sec=3.25))
            await until(lambda: backend.stored == 6, "the sample without a number is stored")
            health = backend.health()
            assert (health["node"], health["generation"], health["sensors"]) == ("here", 1, 2)
            assert health["examinations_open"] == 1
    rows = await query(dsn, "SELECT id, status, bed, end_time > start_time FROM examinations")
    assert rows == [(1, 1, "one", True)]
    rows = await query(dsn, "SELECT sec_from_start, bpm, uuid FROM ctg ORDER BY id")
    assert [r[0] for r in rows] == [0.0, 0.25, 0.5, 0.75, 1.0, 3.25]
    assert {r[2] for r in rows} == {SENSORS[0].id, SENSORS[1].id}
    nodes = await query(dsn, "SELECT id, alive FROM nodes")
    assert nodes == [("here", False)]


async def test_a_sensor_that_comes_to_another_node_goes_on_there(postgres):
    """The last claim wins: the older connection hears 4409, the examination goes on."""
    dsn = await postgres.database()
    async with backend_on(Dsn(dsn), node="a") as a, backend_on(Dsn(dsn), node="b") as b:  # noqa: SIM117
        async with sensor(a) as first, sensor(a, 1):
            for seq in range(3):
                await first.send(message(seq))
            await acked(first, 2)
            async with sensor(b) as second:
                for seq in range(1, 6):  # two of them again
                    await second.send(message(seq))
                await acked(second, 5)
                assert await closed_with(first) == 4409
                assert b.health()["taken"] == a.health()["displaced"] == 1
                open_ = await query(dsn, "SELECT id FROM examinations WHERE end_time IS NULL")
                assert open_ == [(1,)]
    # Unnamed streams: each connection has one, their numbers are looked up in all of them.
    assert (await query(dsn, COUNT))[0][0] == 6
    assert await query(dsn, "SELECT count(*) FROM examinations") == [(1,)]


async def test_of_two_connections_the_one_that_came_last_stays(postgres):
    """Whichever the database hears of first (S-1.4): here of the older one a while later."""
    dsn = await postgres.database()
    async with backend_on(Dsn(dsn), node="a") as a, backend_on(Dsn(dsn), node="b") as b:
        link, may_go = a._registry._link, asyncio.Event()
        fetch = link.fetch

        async def held_up(sql, *arguments, **more):
            if "ctgkit_claim" in sql:
                await may_go.wait()
            return await fetch(sql, *arguments, **more)

        link.fetch = held_up
        async with sensor(a) as older, sensor(b) as newer:
            await newer.send(message(0))
            await acked(newer, 0)
            may_go.set()
            assert await closed_with(older) == 4409
            await newer.send(message(1))
            await acked(newer, 1)
            assert (a.health()["sensors"], b.health()["sensors"]) == (0, 1)
            async with sensor(a) as newest:  # and one that comes now has it
                assert await closed_with(newer) == 4409
                await newest.send(message(2))
                await acked(newest, 2)
    assert await query(dsn, "SELECT count(*) FROM examinations") == [(1,)]


async def test_a_clock_that_was_set_keeps_no_sensor_out(postgres):
    """A node's idea of the database's clock counts only where it can be right."""
    dsn = await postgres.database()
    async with node_on(dsn, "a") as (_, at_a), node_on(dsn, "b") as (_, at_b):
        ahead_s = 3600.0
        for registry in (at_a, at_b, at_a):
            clock = registry._node.clock
            clock._low_s, clock._high_s = clock._low_s + ahead_s, clock._high_s + ahead_s
            await claimed(registry)
            await query(dsn, "UPDATE attendances SET arrived_at = arrived_at + interval '1 hour'")
            ahead_s = -7200.0
        assert await query(dsn, "SELECT node FROM attendances") == [("a",)]


async def test_both_connections_send_and_nothing_is_stored_twice(postgres):
    dsn = await postgres.database()
    async with node_on(dsn, "a") as (store_a, at_a), node_on(dsn, "b") as (store_b, at_b):
        last, acks = -1, []
        where = [(store_a, at_a), (store_b, at_b)]
        older = await claimed(at_a, 0, "s")
        for turn in range(12):
            store, registry = where[(turn + 1) % 2]
            newer = await claimed(registry, 0, "s")
            for seq in range(last + 1, last + 9):  # the same numbers over both
                put(where[turn % 2][0], older, seq)
                put(store, newer, seq)
            last += 8
            await asyncio.gather(store_a.written(), store_b.written())
            acks.append(newer.acks[-1:])
            assert not older.acks or older.acks[-1] <= last - 8
            older = newer
        assert acks == [[n * 8 + 7] for n in range(12)]
    total, different = (await query(dsn, COUNT))[0]
    assert total == different == last + 1
    assert await query(dsn, "SELECT count(*) FROM streams") == [(1,)]


async def test_a_group_of_unknown_outcome_is_written_once(postgres):
    """The same group again has the same answers, and moves the heartbeat."""
    dsn = await postgres.database()
    async with node_on(dsn) as (store, registry):
        hears = await claimed(registry)
        put(store, hears, *range(5, 8))
        await store.written()
        engine, attendance = store._engine, hears.attendance
        group = Group()
        group.samples = [(attendance, reading(attendance.sensor_id, seq)) for seq in (8, None)]
        for seq, bpm in ((5, 140.0), (6, 99.0), (2, 140.0)):
            sample = reading(attendance.sensor_id, seq, bpm=bpm)
            turn = attendance.numbers.ask(sample)
            group.questions.append(Question(attendance, sample, hears, turn, 1))
        first = await engine.write(group)
        before = await query(dsn, "SELECT seen, group_no, xmin::text FROM nodes")
        again = await engine.write(group)
        after = await query(dsn, "SELECT seen, group_no, xmin::text FROM nodes")
        assert first.outcomes == again.outcomes == ["again", "conflict", "new"]
        assert first.stored == again.stored == 3
        assert after[0][1] == before[0][1]
        assert after[0][2] != before[0][2]  # it wrote, so it waits for a standby
        # … also when the node was declared dead in between
        await query(dsn, "UPDATE nodes SET generation = generation + 1")
        assert (await engine.write(group)).stored == 3
        assert (await query(dsn, COUNT))[0] == (6, 6)
        assert registry.counts["fenced"] == 1


async def test_rows_keep_the_order_of_arrival(postgres):
    dsn = await postgres.database()
    async with node_on(dsn) as (store, registry):
        first = await claimed(registry, 0, "s")
        put(store, first, 10)
        await store.written()
        async with asyncio.timeout(60 * TIME_FACTOR):
            put(store, first, 11, 3, 12, 13, 4, 14)
            await store.written()
    rows = await query(dsn, "SELECT seq FROM samples ORDER BY created_at")
    assert [r[0] for r in rows] == [10, 11, 3, 12, 13, 4, 14]


async def test_a_node_that_was_declared_dead_stores_and_acknowledges_nothing(postgres, caplog):
    """What has a number is resent; what has none is kept; the sensors are sent away with 1012."""
    dsn = await postgres.database()
    async with backend_on(Dsn(dsn), node="zombie") as backend:  # noqa: SIM117
        async with sensor(backend) as one, sensor(backend, 1, v1=False) as plain:
            await one.send(message(0))
            await acked(one, 0)
            await query(dsn, "UPDATE nodes SET generation = generation + 1, alive = false")
            await query(dsn, "SELECT * FROM ctgkit_tidy(15)")
            await one.send(message(1))
            await plain.send(message(None, sec=1.0))
            assert await closed_with(one) == await closed_with(plain) == 1012
            async with sensor(backend) as again:
                await again.send(message(1))
                await acked(again, 1)
            assert backend.health()["fenced"] == 1
            assert backend.health()["generation"] == 3
    assert sorted(await query(dsn, "SELECT seq FROM samples"), key=str) == [(0,), (1,), (None,)]
    assert await query(dsn, "SELECT count(*) FROM examinations") == [(1,)]


async def test_a_silent_node_is_fenced_by_another_and_its_sensors_are_let_go(postgres):
    dsn = await postgres.database()

    async def silent():
        pass

    async with node_on(dsn, "quiet") as (_, registry):
        registry._beat = silent
        await claimed(registry, 2)
        await query(dsn, "UPDATE nodes SET seen = seen - interval '1 hour' WHERE id = 'quiet'")
        # The row is the node's: who holds it is alive.
        async with node_on(dsn, "other", handover_s=0.0, lease_s=600.0):
            (row,) = await query(dsn, "SELECT generation, alive FROM nodes WHERE id = 'quiet'")
            assert row == (2, False)
    rows = await query(dsn, "SELECT status, end_time = start_time FROM examinations")
    assert rows == [(2, True)]  # interrupted, at its last sample: there was none


async def test_an_examination_outlives_its_node_for_the_handover(postgres):
    """Lost with a node it stays open; ended by the sensor it ends at once (S-5.3)."""
    dsn = await postgres.database()
    async with backend_on(Dsn(dsn), node="a") as backend:
        lost = await sensor(backend).__aenter__()
        await lost.send(message(0))
        await acked(lost, 0)
    async with backend_on(Dsn(dsn), node="b") as backend:
        async with sensor(backend) as one:
            await one.send(message(1))
            await acked(one, 1)
        await until(lambda: not backend.health()["examinations_open"], "it is closed")
        async with sensor(backend) as one:
            await one.send(message(2))
            await acked(one, 2)
    await lost.wait_closed()
    rows = await query(dsn, "SELECT id, status FROM examinations ORDER BY id")
    assert [r[0] for r in rows] == [1, 2]
    assert rows[0][1] == 1


async def test_one_name_is_one_process(postgres):
    """A second one with the same name is refused; after a crash the name is free at once."""
    dsn = await postgres.database()
    async with node_on(dsn, "a") as (_, registry):
        with pytest.raises(StoreError, match=r"node a is in use \(process"):
            async with node_on(dsn, "a"):
                pass
        await registry._node.link.close()  # as a killed process leaves it: alive, in the database
        async with node_on(dsn, "a") as (_, later):
            assert later.node == ("a", 2)


async def test_the_past_comes_in_pages_with_and_without_numbers(postgres):
    dsn = await postgres.database()
    async with node_on(dsn) as (store, registry):
        one = await claimed(registry, 0, "first")
        put(store, one, *range(700))
        plain = await claimed(registry, 1, numbered=False)
        for n in range(600):
            put(store, plain, None, sec=n / 4)
        await store.written()
        one = await claimed(registry, 0, "second")
        put(store, one, *range(700, 900))
        await store.written()

        async def seconds(number, past_s):
            exam = one.attendance.examination_id
            pages = [p async for p in store.recent(exam, SENSORS[number].id, past_s)]
            assert all(len(page) <= 256 for page in pages)
            return [row[0] for page in pages for row in page]

        assert await seconds(0, 60.0) == [n / 4 for n in range(659, 900)]
        assert await seconds(0, 4000.0) == [n / 4 for n in range(900)]
        assert await seconds(1, 100.0) == [n / 4 for n in range(199, 600)]
        assert await seconds(2, 100.0) == []


async def test_a_result_that_text_cannot_hold_ends_nobody(postgres):
    """PostgreSQL's text holds no NUL; a hostile ML service may send one."""
    dsn = await postgres.database()

    def answer(request):
        sample = request.get("sample", request)
        return [
            json.dumps({**request, "status": "o\0k", "prediction": None}),
            json.dumps({**sample, "status": "o\0k", "prediction": None}),
        ]

    async with (
        ml_service(answer) as url,
        backend_on(Dsn(dsn), ml_url=url, ml_retry_s=0.1) as backend,
        viewer(backend) as _,
        sensor(backend) as one,
    ):
        await backend.ml_connected()
        for seq in range(5):
            await one.send(message(seq))
        await acked(one, 4)
        await one.send(message(5))
        await acked(one, 5)
        assert backend.health()["store"] == "ok"


async def test_ready_says_whether_the_database_is_there(postgres):
    dsn = await postgres.database()
    async with backend_on(Dsn(dsn)) as backend:
        assert (await ask(backend.url, "/readyz")).status == 200
        assert b'ctgkit_node_info{node="' in (await ask(backend.url, "/metrics")).body


async def test_old_partitions_need_not_be_made_by_hand(postgres):
    """Each thousand of examinations has a partition of its own, made with its first one."""
    dsn = await postgres.database()
    async with node_on(dsn) as (store, registry):
        await query(dsn, "SELECT setval('examinations_id_seq', 999)")
        for number in (0, 2):
            put(store, await claimed(registry, number), 1)
        await store.written()
    found = await query(
        dsn, "SELECT tableoid::regclass::text, examination_id FROM samples ORDER BY 2"
    )
    assert found == [("samples_1", 1000), ("samples_1", 1001)]


async def test_a_commit_that_takes_too_long_is_asked_for_again(postgres, monkeypatch):
    """It isn't cancelled: the connection goes, the same group is asked for, and is written once."""
    import asyncpg

    from ctgkit.server.store.postgres import engine

    monkeypatch.setattr(engine, "COMMIT_DEADLINE_S", 0.3)
    dsn = await postgres.database()
    async with node_on(dsn) as (store, registry):
        hears = await claimed(registry)
        put(store, hears, 0)
        await store.written()
        lock = await asyncpg.connect(dsn)
        async with lock.transaction():
            await lock.execute("LOCK TABLE samples IN ACCESS EXCLUSIVE MODE")
            put(store, hears, 1, 2)
            await until(lambda: registry.counts["ambiguous"] > 1, "it is asked for again")
            assert hears.acks == [0]
        await lock.close()
        await until(lambda: hears.acks[-1:] == [2], "it is acknowledged")
        put(store, hears, 3)
        await store.written()
        assert store.degraded == ""
    assert (await query(dsn, COUNT))[0] == (4, 4)


async def test_a_claim_whose_answer_was_lost_leaves_no_examination_open(postgres):
    """The database let the sensor in, the node doesn't know: it tells the database otherwise."""
    dsn = await postgres.database()
    async with node_on(dsn, handover_s=0.0) as (_, registry):
        fetch, link = registry._link.fetch, registry._link

        async def lose(sql, *arguments, **more):
            rows = await fetch(sql, *arguments, **more)
            if "ctgkit_claim" in sql:
                link.fetch = fetch
                raise Again("the connection was lost")
            return rows

        link.fetch = lose
        with pytest.raises(Again):
            await claimed(registry)
        async with asyncio.timeout(60 * TIME_FACTOR):
            while await query(dsn, "SELECT 1 FROM examinations WHERE end_time IS NULL"):
                await asyncio.sleep(0.05)
    assert await query(dsn, "SELECT present FROM attendances") == [(False,)]


async def test_what_is_over_is_counted_once(postgres):
    """Lists say the same before and after, without looking at the rows again."""
    from ctgkit.server.store.postgres.reader import open_reader

    dsn = await postgres.database()

    def numbers():
        with open_reader(Dsn(dsn)) as reader:
            keys = ("id", "samples", "with_signal", "sensors", "predictions")
            return [[row[key] for key in keys] for row in reader.examinations()]

    async with node_on(dsn, handover_s=0.0) as (store, registry):
        for number in (0, 2):
            hears = await claimed(registry, number)
            put(store, hears, *range(5))
            await store.written()
            if not number:
                registry.release(hears.attendance, lost=False)
        await until(lambda: len(registry.open_examinations()) == 1, "one is over")
        before = await asyncio.to_thread(numbers)
        assert before == [[1, 5, 5, 1, 0], [2, 5, 5, 1, 0]]
        assert await query(dsn, "SELECT ctgkit_count()") == [(False,)]  # late results may come
        await query(dsn, "UPDATE examinations SET end_time = end_time - interval '1 hour',"
                    " updated_at = updated_at - interval '1 hour'")  # fmt: skip
        assert await query(dsn, "SELECT ctgkit_count()") == [(True,)]
        assert await query(dsn, "SELECT ctgkit_count()") == [(False,)]
        await query(dsn, "DELETE FROM samples WHERE examination_id = 1")
        assert await asyncio.to_thread(numbers) == before
        await query(dsn, "SELECT ctgkit_remove(1)")
        assert await asyncio.to_thread(numbers) == before[1:]
        assert await query(dsn, "SELECT * FROM counts") == []


class Both:
    """The same ward twice: a registry alone, and one with a database that others could share."""

    def __init__(self, where):
        self.where = where
        self.lines = [{}, {}]

    async def come(self, number, stream):
        entry = SENSORS[number]
        for (_, registry), lines in zip(self.where, self.lines, strict=True):
            attendance = await registry.claim(entry.id, stream, numbered=True)
            lines[number] = Hears(attendance)

    async def leave(self, number, lost):
        for (store, registry), lines in zip(self.where, self.lines, strict=True):
            if number in lines:
                registry.release(lines.pop(number).attendance, lost=lost)
                await store.written()
        waiting = self.where[1][1]._waiting
        await until(lambda: not waiting.releases, "it was let go")

    async def send(self, number, first, bpm):
        for (store, _), lines in zip(self.where, self.lines, strict=True):
            if number in lines:
                put(store, lines[number], first, first + 1, bpm=bpm)
                await store.written()

    def assert_equal(self):
        local, shared = (
            (
                {n: (h.attendance.examination_id, h.acks[-1:]) for n, h in lines.items()},
                sorted(registry.connected), dict(registry.open_examinations()), store.stored,
                store.conflicts,
            )
            for (store, registry), lines in zip(self.where, self.lines, strict=True)
        )  # fmt: skip
        assert local == shared


NUMBER = st.integers(0, 2)
STEP = st.one_of(
    st.tuples(st.just("come"), NUMBER, st.sampled_from([None, "x", "y"])),
    st.tuples(st.just("leave"), NUMBER, st.booleans()),
    st.tuples(st.just("send"), NUMBER, st.integers(0, 6), st.sampled_from([140.0, 90.0])),
)


@settings(max_examples=8)
@example(
    steps=[("come", 0, None), ("come", 1, None), ("leave", 0, True), ("leave", 1, False),
           ("come", 1, "x"), ("leave", 1, False), ("come", 0, "x"), ("leave", 0, False)]
)  # fmt: skip
@given(steps=st.lists(STEP, min_size=8, max_size=20))
def test_both_registries_answer_alike(postgres, steps):
    """Who is connected, which examination, what is stored, acknowledged, in conflict."""

    async def live():
        digests = {s.id: bytes(32) for s in SENSORS}
        with tempfile.TemporaryDirectory() as folder:
            async with (
                open_store(Path(folder) / "x.db", "normal", digests) as store,
                node_on(await postgres.database(), handover_s=600.0) as shared,
            ):
                registry = LocalRegistry(Session(BEDS, 0.0, 0, 600.0), store)
                writer = asyncio.ensure_future(store.run())
                both = Both([(store, registry), shared])
                for name, *arguments in steps:
                    await getattr(both, name)(*arguments)
                    both.assert_equal()
                store.stop()
                await writer

    asyncio.run(live())
