"""Benches around backends and services of this process."""

import asyncio
import json
import shlex
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ctgkit.check.backend.catalogue import BACKEND
from ctgkit.check.connection import target_of
from ctgkit.check.launched import Launched
from ctgkit.check.probe import run_bench
from ctgkit.check.rig import BenchSettings
from ctgkit.check.run import run_checks
from ctgkit.check.service.rig import ServiceBench
from ctgkit.config import SensorEntry
from tests.check.naive.backend import start
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
TOKENS = {f"0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d{n:02x}": f"kJ3xQ9vT7mZ2pL5w-{n}" for n in range(2)}
OTHER_BED = "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1dff", "w5Lp2Zm7Tv9Qx3Jk-3"
VIEWER_TOKEN = "8hR4tY6uE1oC0nV-viewers"
LIMIT = 30


def failed(verdicts):
    return {v.check.id for v in verdicts if v.outcome in ("fail", "warn")}


def explain(verdicts):
    return "\n".join(
        f"{v.check.id}: expected {v.expected}, got {v.actual}"
        for v in verdicts
        if v.outcome in ("fail", "warn")
    )


@contextmanager
def served(directory):
    """Run `ctgkit serve` in a process of its own; yield its URL and where its configuration is."""
    (directory / "ctgkit.toml").write_text(
        "".join(f'[[sensors]]\nid = "{i}"\ntoken = "{t}"\n' for i, t in TOKENS.items())
    )
    command = ["serve", "--port", "0", "--ml", "none", "--store", "sqlite:///ctg.db"]
    with subprocess.Popen(
        [sys.executable, "-m", "ctgkit", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=directory,
    ) as process:
        try:
            yield process.stdout.readline().strip(), directory
        finally:
            process.terminate()


async def judge(
    url,
    sensors,
    checks,
    *,
    ml_port=None,
    store=None,
    excused=(),
    allowed=None,
    launched=None,
    timeout_s=1.5,
    **more,
):
    """Run checks against a backend."""
    settings = BenchSettings(
        target=target_of(url),
        sensors=sensors,
        store=store,
        timeout_s=timeout_s,
        redial_s=2 * timeout_s,
        **more,
    )
    async with run_bench(settings, ml_port and ("127.0.0.1", ml_port), launched) as bench:
        return await run_checks(bench, checks, excused=dict.fromkeys(excused, ""), allowed=allowed)


def naive_config(directory, name, **more):
    """Return a configuration of the naive backend and its sensors' entries."""
    controls = {sensor: f"127.0.0.1:{free_port()}" for sensor in TOKENS}
    ml = f"ws://127.0.0.1:{free_port()}/ws/ctg"
    path = directory / f"{name}.db"
    config = {"tokens": TOKENS, "store": str(path), "ml": ml, "controls": controls, "limit": LIMIT}
    entries = tuple(SensorEntry(id=i, token=t, control=controls[i]) for i, t in TOKENS.items())
    return config | more, entries


@asynccontextmanager
async def naive_backend(config, bug=""):
    """Run the naive backend in this process; yield its URL."""
    backend, server = await start(config, bug)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(backend.tasks):
            task.cancel()
        await asyncio.gather(*backend.tasks, return_exceptions=True)
        for socket in [*backend.attending, *backend.viewers]:
            socket.writer.transport.abort()
        await asyncio.sleep(0.05)
        backend.store.close()


async def judge_mutant(directory, bug, checks, **more):
    """Run checks against the naive backend with one fault."""
    name = "".join(c if c.isalnum() else "-" for c in bug) or "none"
    config, entries = naive_config(directory, name)
    async with naive_backend(config, bug) as url:
        return await judge(
            url,
            entries,
            checks,
            ml_port=urlsplit(config["ml"]).port,
            store=Path(config["store"]),
            max_connections=LIMIT,
            **more,
        )


def judge_process(directory, fault, checks, **more):
    """Run checks against the naive backend in a process of its own, which they start and stop."""
    port = free_port()
    config, entries = naive_config(directory, "process", port=port, sync="NORMAL")
    Path(config["store"]).touch()
    file = directory / "config.json"
    file.write_text(json.dumps(config))
    command = shlex.join([sys.executable, "-m", "tests.check.naive", str(file), *fault.split()])
    return _judge_launched(directory, command, port, config, entries, checks, 20.0, **more)


def _judge_launched(directory, command, port, config, entries, checks, start_timeout_s, **more):
    url = f"http://127.0.0.1:{port}"
    launched = Launched(
        f"env PYTHONPATH={ROOT} {command}",
        target_of(url),
        directory / "run.log",
        None,
        start_timeout_s,
    )
    judging = judge(
        url,
        entries,
        checks,
        ml_port=urlsplit(config["ml"]).port,
        store=Path(config["store"]),
        launched=launched,
        **more,
    )
    return asyncio.run(judging)


def judge_reference(directory, fault, checks, *, grace_s=0.0, **more):
    """Run checks against `ctgkit serve` with a fault planted in it, in a process of its own."""
    port = free_port()
    config, entries = naive_config(directory, "reference")
    stranger = SensorEntry(id=OTHER_BED[0], token=OTHER_BED[1], bed="other")
    entries = (*entries, stranger)
    text = f'viewer_token = "{VIEWER_TOKEN}"\n' + "".join(
        f'[[sensors]]\nid = "{s.id}"\ntoken = "{s.token}"\nbed = "{s.bed}"\n'
        + (f'control = "{s.control}"\n' if s.control else "")
        for s in entries
    )
    file = directory / "ctgkit.toml"
    file.write_text(text)
    file.chmod(0o600)
    serve = ["serve", "--config", str(file), "--host", "0.0.0.0", "--port", str(port)]
    serve += ["--ml", config["ml"], "--ml-retry", "0.5", "--store", f"sqlite:///{config['store']}"]
    serve += ["--grace", str(grace_s), "--max-connections", str(LIMIT)]
    planted = ["tests.check.reference", *fault.split(), "--"] if fault else ["ctgkit"]
    command = shlex.join([sys.executable, "-m", *planted, *serve])
    return _judge_launched(
        directory, command, port, config, entries, checks, 30.0, grace_s=grace_s,
        viewer_token=VIEWER_TOKEN, max_connections=LIMIT, **more,
    )  # fmt: skip


async def judge_service(url, checks, ml_format="nested"):
    """Run checks against an ML service."""
    async with asyncio.TaskGroup() as tasks:
        bench = ServiceBench(target=target_of(url), tasks=tasks, timeout_s=2.0, ml_format=ml_format)
        await bench.learn()
        return await run_checks(bench, checks)


SLOW = {
    "V-2.2/silent",
    "V-2.2/late",
    "V-2.2/each",
    "V-2.3/others",
    "V-2.3/closed",
    "V-2.3/patient",
    "V-2.2/answered",
    "V-2.2/once",
    "V-2.2/in-time",
    "V-2.1/left",
    "M-4.2/twins",
    "M-4.2/number",
    "M-2.3/discarded",
    "M-1.1/brief",
    "V-2.4/aborts",
    "M-1.1/persists",
    "M-1.1/pace",
    "M-4.1/shown",
    "S-1.6/reconnects",
    "H-2.2/hanging",
} | {f"S-4.6/{rate}hz" for rate in ("1", "4", "8.33")}
"""Checks that take a second or more."""


def quick_checks():
    """Return the first quick check of every clause."""
    seen = Counter()
    for check in BACKEND.select((), strict=False):
        if check.id not in SLOW:
            seen[check.clause] += 1
            if seen[check.clause] == 1:
                yield check
