"""The audit log: on real files, on a full disk, in a flood, over a rotation."""

import asyncio
import json
import stat
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from ctgkit.errors import ConfigError
from ctgkit.server.audit import QUEUE_MAX_LINES, REFUSED_BURST_LINES, AuditLog
from tests.server.parties import SENSORS, acked, backend_on, message, sensor, until, viewer


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@asynccontextmanager
async def auditing(path):
    """Run a log alone; leave when it is written."""
    log = AuditLog(path)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(log.run())
        try:
            yield log
        finally:
            log.stop()


async def test_who_came_who_was_refused_and_what_was_examined(tmp_path):
    """From the configuration to the stop, in order, for the owner's eyes only."""
    path = tmp_path / "audit.jsonl"
    more = {"audit_log": path, "viewer_token": "sesame", "ml_url": "ws://u:hidden@127.0.0.1:1/x"}
    async with backend_on(tmp_path / "ctg.db", **more) as backend:
        async with sensor(backend) as s:
            await s.send(message(1))
            await acked(s, 1)
        await until(lambda: not backend.health()["sensors"])
        with pytest.raises(InvalidStatus):
            await sensor(backend, 1, token="wrong")
        async with viewer(backend, additional_headers={"Authorization": "Bearer sesame"}):
            await until(lambda: backend.health()["viewers"] == 1)
        await until(lambda: backend.health()["viewers"] == 0)
        async with viewer(backend) as v:
            await v.send('{"token": "wrong"}')
            await v.wait_closed()
    lines = lines_of(path)
    assert [(line["event"], line.get("status")) for line in lines] == [
        ("started", None),
        ("examination opened", None),
        ("connected", None),
        ("examination closed", None),
        ("disconnected", None),
        ("refused", 401),
        ("connected", None),
        ("disconnected", None),
        ("refused", 4401),
        ("stopped", None),
    ]
    assert [line["role"] for line in lines if line["event"] == "connected"] == ["sensor", "viewer"]
    assert lines[5]["claims"] == SENSORS[1].id
    assert lines[5]["peer"].startswith("127.0.0.1:")
    assert {s["id"] for s in lines[0]["sensors"]} == {s.id for s in SENSORS}
    secrets = ("sesame", "wrong", "hidden", *(s.token for s in SENSORS))
    assert not [secret for secret in secrets if secret in path.read_text()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_flood_of_refusals_is_thinned_and_counted(tmp_path):
    """Nobody fills the disk from outside; what was held back is told."""
    path = tmp_path / "audit.jsonl"
    async with auditing(path) as log:
        for number in range(10_000):
            log.note("refused", status=401, number=number)
        log.note("connected", role="viewer")
    *refused, connected, stopped, held_back = lines_of(path)
    assert (connected["event"], stopped["event"]) == ("connected", "stopped")
    assert len(refused) == pytest.approx(REFUSED_BURST_LINES, abs=5)
    assert held_back["n"] == log.counts["suppressed"] == 10_000 - len(refused)


async def test_logrotate_needs_no_signal(tmp_path):
    """A renamed file is left alone, and a new one made with the same mode."""
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    async with auditing(path) as log:
        log.note("one")
        await until(lambda: log.counts["written"] == 1)
        path.rename(old)
        log.note("two")
    assert [line["event"] for line in lines_of(old)] == ["one"]
    assert [line["event"] for line in lines_of(path)] == ["two", "stopped"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_an_earlier_log_is_kept(tmp_path):
    """Lines are appended."""
    path = tmp_path / "audit.jsonl"
    path.write_text('{"event": "before"}\n')
    async with auditing(path):
        pass
    assert [line["event"] for line in lines_of(path)] == ["before", "stopped"]


async def test_a_full_disk_costs_lines_and_nothing_else(tmp_path):
    """Sensors are served on; what was lost is counted, and told when there is room again."""
    link = tmp_path / "audit.jsonl"
    link.symlink_to("/dev/full")
    async with backend_on(tmp_path / "ctg.db", audit_log=link) as backend, sensor(backend) as s:

        def lines(what):
            return backend.counters.gauges["audit_lines", what]()

        await s.send(message(1))
        await acked(s, 1)
        await until(lambda: lines("lost") >= 3)
        lost = lines("lost")
        link.unlink()
        async with viewer(backend):
            await until(lambda: lines("written") > 0)
        assert b'ctgkit_audit_lines{name="lost"} %d.0' % lost in backend.counters.text()
    told, *others = lines_of(link)
    assert (told["event"], told["n"]) == ("lost", lost)
    assert [line["event"] for line in others][-1] == "stopped"


async def test_a_slow_disk_holds_up_nobody(tmp_path):
    """What doesn't fit into the queue is lost, not waited for."""
    log = AuditLog(tmp_path / "audit.jsonl")
    for number in range(QUEUE_MAX_LINES + 1):
        log.note(f"kind {number % 3}")
    assert log.counts["lost"] == 1
    log.stop()
    await log.run()
    told, *lines = lines_of(tmp_path / "audit.jsonl")
    assert told["event"] == "lost"
    assert len(lines) == QUEUE_MAX_LINES


@pytest.mark.parametrize("name", ["nowhere/audit.jsonl", "."])
async def test_a_log_that_cannot_be_opened_is_a_configuration_error(tmp_path, name):
    """At the start, not at the first refusal."""
    with pytest.raises(ConfigError, match="audit-log"):
        AuditLog(Path(tmp_path / name))
