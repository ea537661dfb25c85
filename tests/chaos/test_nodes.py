"""Several nodes on one PostgreSQL: killed, paused, cut off, taken over. Nothing acked is lost.

Those marked slow are the long ones of docs/scale.md; they print their figures (``-s``).
"""

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from tests.chaos.namespace import cut_off_place
from tests.chaos.ward import Ward, now_s, share
from tests.flow.processes import until, until_reports
from tests.postgres import PASSWORD, clusters, query
from tests.server.natsserver import nats_server, needs_nats

pytestmark = pytest.mark.chaos
LEASE_S = 10.0
FAKETIME = next(Path("/usr/lib").glob("**/libfaketime.so.1"), None)


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
async def test_nodes_are_killed(system, kills, postgres):
    """`kill -9`, the next one at once: acked lost 0, twice 0, one examination per bed."""
    dsn = await postgres.database()
    ward = Ward(system, dsn, 3, seed=kills)
    async with asyncio.TaskGroup() as tasks:
        living = await ward.life(tasks)
        for _ in range(kills):
            number = ward.luck.randrange(3)
            ward.nodes[number].kill()
            await asyncio.sleep(ward.luck.random())
            await ward.goes_on("all are acknowledged by the others")
            await ward.start(number)
        await ward.end(living)
    await ward.assert_whole(dsn)
    longest_s = max(one.longest_s for one in ward.sensors)
    print(f"\n{kills} kills: {ward.acked} acked, longest without {longest_s:.1f} s")
    assert longest_s < 15


@pytest.mark.parametrize("seconds", [14, pytest.param(3 * LEASE_S, marks=pytest.mark.slow)])
async def test_a_node_sleeps_longer_than_its_lease(system, postgres, seconds):
    """SIGSTOP: the others take over; when it wakes it is fenced, and stores nothing of before."""
    dsn = await postgres.database()
    ward = Ward(system, dsn, 2, seed=1)
    async with asyncio.TaskGroup() as tasks:
        living = await ward.life(tasks)
        ward.nodes[0].send(signal.SIGSTOP)
        elsewhere_s = await ward.goes_on("all are acknowledged elsewhere", 60)
        await asyncio.sleep(max(0.0, seconds - elsewhere_s))
        ward.nodes[0].send(signal.SIGCONT)
        await until_reports(ward.nodes[0].url, {"fenced": 1}, "it is fenced", 10)
        await ward.goes_on("all are acknowledged")
        await ward.end(living)
    await ward.assert_whole(dsn)
    longest_s = max(one.longest_s for one in ward.sensors)
    print(f"\nstopped for {seconds:g} s: longest without acknowledgement {longest_s:.1f} s")


@pytest.mark.parametrize("seconds", [pytest.param(30, marks=pytest.mark.slow)])
async def test_a_node_is_cut_off_from_the_database(system, seconds):
    """A namespace whose way to the database swallows everything: sensors go, fenced at return."""
    with clusters() as make, cut_off_place() as place:
        server = make()
        server.settings["listen_addresses"] = f"127.0.0.1,{place.database_address}"
        with (server.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {place.network} scram-sha-256\n")
        server.start()
        dsn = server.dsn("postgres")
        ward = Ward(system, dsn, 2, seed=5, PGPASSWORD=PASSWORD)
        ward.dsn = (
            f"postgresql://ctg@{place.database_address}:{server.port}/postgres?sslmode=disable"
        )
        far = ("--host", place.node_address, "--public-viewers")
        await ward.start(0, *far, preexec_fn=place.enter)
        for sensor in ward.sensors:
            sensor.urls[0] = f"http://{place.node_address}:{ward.ports[0]}"
        async with asyncio.TaskGroup() as tasks:
            living = await ward.life(tasks)
            place.cut()
            away_s = await ward.goes_on("all are acknowledged by the other", 30)
            await asyncio.sleep(max(0.0, seconds - away_s))
            place.mend()
            await until_reports(sensor.urls[0], {"fenced": 1}, "it is fenced", 30)
            await ward.goes_on("all are acknowledged")
            await ward.end(living)
        await ward.assert_whole(dsn)
        print(f"\ncut off for {seconds} s: all acknowledged by the other after {away_s:.1f} s")
        assert away_s < LEASE_S + 10  # on a machine that does nothing else it is LEASE_S + 3


async def test_nobody_is_sent_away_while_the_table_is_locked(system, postgres):
    """Acknowledgements wait as long as it takes; commits are heartbeats, none is cancelled."""
    dsn = await postgres.database()
    ward = Ward(system, dsn, 1, seed=2)
    async with asyncio.TaskGroup() as tasks:
        living = await ward.life(tasks)
        await query(
            dsn, "DO $$ BEGIN LOCK TABLE samples IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(20);"
            " END $$",
        )  # fmt: skip
        await ward.end(living)
        left = [one for one in ward.nodes[0].err.splitlines() if "sensor disconnected" in one]
        assert all("code=1000" in one for one in left), left
    assert await ward.lost(dsn) == 0


@needs_nats
@pytest.mark.parametrize("bus", [True, False], ids=["nats", "no nats"])
@pytest.mark.parametrize("takeovers", [40, pytest.param(1000, marks=pytest.mark.slow)])
async def test_sensors_are_taken_over_while_both_connections_send(system, postgres, takeovers, bus):
    """Each time to the other node: the older connection hears 4409, nothing is stored twice."""
    dsn, heard_s = await postgres.database(), []

    async def take_over(ward, sensor, times):
        """Open connections at one node after the other; both send until the older one ends."""
        async with contextlib.AsyncExitStack() as stack:
            talking, older = [], None
            for turn in range(times):
                line = await stack.enter_async_context(sensor.dial(sensor.urls[turn % 2]))
                opened_s = now_s()
                talking.append(asyncio.ensure_future(sensor.converse(line)))
                if older is not None:
                    await older.wait_closed()
                    heard_s.append(now_s() - opened_s)
                    assert older.close_code == 4409, older.close_code
                older = line
                acked = sensor.acked
                await until(lambda a=acked: sensor.acked > a, "it is acknowledged", 30)
            sensor.stop = True
            await asyncio.gather(*talking, return_exceptions=True)

    with nats_server() as nats:  # nine sensors: fewer than a node would send away to even out
        options = ("--bus", nats.url) if bus else ()
        ward = Ward(system, dsn, 2, seed=6, sensors=9, beds=9, options=options)
        for number in (0, 1):
            await ward.start(number)
        times = takeovers // 9 + 2
        await asyncio.gather(*(take_over(ward, one, times) for one in ward.sensors))
    await ward.assert_whole(dsn)
    p50, p99 = share(heard_s, 0.5), share(heard_s, 0.99)
    print(f"\n{len(heard_s)} takeovers: 4409 after p50 {p50:.3f} s, p99 {p99:.3f} s")
    assert p99 < LEASE_S


@pytest.mark.slow
async def test_a_thousand_sensors_of_a_dead_node(system, postgres):
    """All are acknowledged again by the other one within ten seconds."""
    asyncio.get_running_loop().set_debug(False)  # else the sensors are slower than the node
    dsn = await postgres.database()
    ward = Ward(system, dsn, 2, seed=7, sensors=1000, beds=250, rate_hz=0.5, pings=False)
    for sensor in ward.sensors:
        sensor.urls = ward.sensors[0].urls[:1]
    async with asyncio.TaskGroup() as tasks:
        for number in (0, 1):
            await ward.start(number)
        living = [tasks.create_task(one.live()) for one in ward.sensors]
        await until(lambda: all(one.acked >= 1 for one in ward.sensors), "all are acked", 120)
        for sensor in ward.sensors:
            sensor.urls = [f"http://127.0.0.1:{ward.ports[1]}"]
        ward.nodes[0].kill()
        again_s = await ward.goes_on("all are acknowledged again", 60)
        await ward.end(living)
    await ward.assert_whole(dsn)
    print(f"\n1,000 sensors acknowledged again after {again_s:.1f} s")
    assert again_s < 10


async def test_the_clocks_of_nodes_are_wrong(system, postgres):
    """One is an hour ahead, one an hour behind: sensors come and go as ever."""
    if FAKETIME is None:
        pytest.skip("needs libfaketime (apt install faketime)")
    dsn = await postgres.database()
    ward = Ward(system, dsn, 2, seed=8)
    wrong = [
        {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1",
         "DONT_FAKE_MONOTONIC": "1"}
        for offset in ("+3600", "-3600")
    ]  # fmt: skip
    for number in (0, 1):
        await ward.start(number, env=wrong[number])
    async with asyncio.TaskGroup() as tasks:
        living = await ward.life(tasks)
        for number in (0, 1, 0):
            ward.nodes[number].kill()
            await ward.goes_on("all are acknowledged by the other")
            await ward.start(number, env=wrong[number])
        await asyncio.sleep(LEASE_S + 1)  # nobody declares the other one dead
        health = [await until_reports(node.url, {"fenced": 0}, "well") for node in ward.nodes]
        assert len({one["timestamp"][:13] for one in health}) == 2
        await ward.end(living)
    await ward.assert_whole(dsn)
    times = "SELECT count(*) FROM samples WHERE abs(extract(epoch FROM now() - created_at)) > 600"
    assert await query(dsn, times) == [(0,)]
