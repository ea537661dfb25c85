"""The map of the house: who may import whom, and how large a room may be."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "ctgkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
FLATS = (
    "server", "sensor", "mlstub", "watch", "recording", "replay", "check",
    "paper", "score", "proxy", "bench",
)  # fmt: skip
"""Packages that meet over the wire and never import one another."""
ALLOWED = {
    ("replay", "recording"),  # plays recordings
    ("sensor", "recording"),  # a recording may drive a sensor
    ("paper", "recording"),  # be printed
    ("watch", "recording"),  # and watched
    ("server", "recording"),  # `exam export` writes recordings
    ("score", "recording"),  # truth and results are read from recordings
    ("replay", "sensor"),  # real clients play the sensors
    ("replay", "server"),  # a replay shows the backend's page
    ("score", "sensor"),  # and scenarios to a service
}
PURE = {
    "ctgkit.blocks",
    "ctgkit.net.addresses",
    "ctgkit.display",
    "ctgkit.errors",
    "ctgkit.wire.json",
    "ctgkit.wire.checked",
    "ctgkit.cli.junit",
    "ctgkit.net.lags",
    "ctgkit.proxy.parties",
    "ctgkit.replay.roles",
    "ctgkit.replay.expect",
    "ctgkit.replay.groups",
    "ctgkit.recording.format",
    "ctgkit.recording.describing",
    "ctgkit.recording.origin",
    "ctgkit.recording.files.channels",
    "ctgkit.recording.files.header",
    "ctgkit.recording.files.joining",
    "ctgkit.recording.files.names",
    "ctgkit.recording.files.clocks",
    "ctgkit.recording.files.grid",
    "ctgkit.recording.files.hearts",
    "ctgkit.recording.files.options",
    "ctgkit.recording.files.order",
    "ctgkit.recording.files.plausible",
    "ctgkit.recording.files.start",
    "ctgkit.recording.tnetstring",
    "ctgkit.recording.files.labels",
    "ctgkit.events",
    "ctgkit.samples",
    "ctgkit.net.origins",
    "ctgkit.wire",
    "ctgkit.server.session",
    "ctgkit.server.door",
    "ctgkit.server.pageasks",
    "ctgkit.server.owed",
    "ctgkit.analysis.alerts",
    "ctgkit.analysis.baseline",
    "ctgkit.analysis.burden",
    "ctgkit.analysis.explain",
    "ctgkit.analysis.minute",
    "ctgkit.analysis.plateau",
    "ctgkit.analysis.windows",
    "ctgkit.analysis.contractions",
    "ctgkit.analysis.describe",
    "ctgkit.analysis.features",
    "ctgkit.analysis.guideline",
    "ctgkit.analysis.morphology",
    "ctgkit.analysis.report",
    "ctgkit.analysis.risk",
    "ctgkit.analysis.tables",
    "ctgkit.analysis.texts",
    "ctgkit.analysis.trace",
    "ctgkit.analysis.tracking",
    "ctgkit.analysis.validity",
    "ctgkit.analysis.variability",
    "ctgkit.analysis.analyzer",
    "ctgkit.paper.sheet",
    "ctgkit.bench.knee",
    "ctgkit.bench.report",
    "ctgkit.bench.schedule",
    "ctgkit.check.checks",
    "ctgkit.check.histories",
    "ctgkit.check.messages",
    "ctgkit.check.profile",
    "ctgkit.check.report",
    "ctgkit.mlstub.script",
    "ctgkit.check.allowed",
    "ctgkit.check.page",
    "ctgkit.score.against",
    "ctgkit.profile.batches",
    "ctgkit.profile.model",
    "ctgkit.profile.render",
    "ctgkit.profile.reply",
    "ctgkit.profile.session",
    "ctgkit.profile.template",
    "ctgkit.score.alarms",
    "ctgkit.score.calls",
    "ctgkit.score.limits",
    "ctgkit.score.matching",
    "ctgkit.score.report",
    "ctgkit.score.results",
    "ctgkit.score.scoring",
    "ctgkit.score.truth",
    "ctgkit.sensor.outbox",
    "ctgkit.sensor.pacing",
    "ctgkit.simulate.playback",
    "ctgkit.simulate.source",
    "ctgkit.simulate.scenario",
    "ctgkit.simulate.knobs",
    "ctgkit.simulate.patient",
    "ctgkit.simulate.plan",
    "ctgkit.simulate.sensor",
    "ctgkit.simulate.shown",
    "ctgkit.watch.alarms",
    "ctgkit.watch.chart",
    "ctgkit.watch.controls",
    "ctgkit.watch.digits",
    "ctgkit.watch.ink",
    "ctgkit.watch.picture",
    "ctgkit.simulate.truth",
    "ctgkit.testing.history",
    "ctgkit.testing.seen",
    "ctgkit.watch.state",
    "ctgkit.watch.strip",
    "ctgkit.watch.trace",
    "ctgkit.watch.values",
    "ctgkit.watch.view",
}
PURE_PACKAGES = ("ctgkit.faults", "ctgkit.simulate.signal")
IMPURE_IMPORTS = {
    "asyncio", "socket", "time", "random", "pathlib", "os", "sqlite3", "websockets",
    "threading", "logging", "subprocess", "click",
}  # fmt: skip
MAX_LINES = 400
MAX_FUNCTION_LINES = 61


def name_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    )


@cache
def nodes_of(path):
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports_of(path):
    found = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    return found


def is_pure(name):
    return name in PURE or name.startswith(PURE_PACKAGES)


def broken_by(rule, paths=MODULES):
    """Return module -> what it does against a rule. One test per rule: modules are many."""
    return {name_of(path): wrong for path in paths if (wrong := rule(path))}


def test_packages_meet_only_over_the_wire():
    """server, simulate, mlstub, watch … don't import one another."""

    def others(path):
        own = name_of(path).split(".")[1:2]
        if not own or own[0] not in FLATS:
            return set()
        rooms = {i.split(".")[1] for i in imports_of(path) if i.startswith("ctgkit.")}
        return {o for o in rooms & set(FLATS) - set(own) if (own[0], o) not in ALLOWED}

    assert broken_by(others) == {}


def test_pure_modules_do_no_io():
    """Modules that decide import nothing that reads clocks, files, sockets or luck."""
    pure = [path for path in MODULES if is_pure(name_of(path))]
    assert {name_of(path) for path in pure} >= PURE
    assert (
        broken_by(lambda p: {i.split(".")[0] for i in imports_of(p)} & IMPURE_IMPORTS, pure) == {}
    )


def test_modules_and_functions_stay_small():
    """A module stops at 400 lines, a function at 60 with its docstring."""

    def too_long(path):
        n_lines = len(path.read_text().splitlines())
        functions = [
            node.name
            for node in nodes_of(path)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
        ]
        return [n_lines] * (n_lines > MAX_LINES) + functions

    assert broken_by(too_long) == {}


def test_no_name_of_a_module_means_two_things():
    """Two branches that add the same constant merge without a conflict; the later one would win."""

    def twice(path):
        assigned = [
            target.id
            for node in nodes_of(path)[0].body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        ]
        return {name for name in assigned if assigned.count(name) > 1}

    assert broken_by(twice) == {}


def test_only_app_knows_the_other_shells_of_the_server():
    """Of the server's shells only app imports its siblings."""
    shells = {"ingest", "mllink", "broadcast", "app", "command", "exam", "sensors"}
    for shell in shells - {"app", "command", "exam"}:
        path = PACKAGE / "server" / f"{shell}.py"
        if path.exists():
            siblings = {i.split(".")[2] for i in imports_of(path) if i.startswith("ctgkit.server.")}
            assert siblings & shells == set(), shell


def test_nothing_depends_on_what_is_for_tests():
    """The fixtures know everybody, nobody knows them: pytest and Hypothesis are extras."""
    for path in MODULES:
        if path.parent.name != "testing":
            assert not any(i.startswith("ctgkit.testing") for i in imports_of(path)), path


def test_wire_names_live_in_one_module():
    """The keys of the wire appear in wire/ only."""
    for path in MODULES:
        if "wire" not in path.parts and "check" not in path.parts:
            strings = {
                n.value
                for n in nodes_of(path)
                if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
            assert strings & {"sensorID", "secFromStart", "BPMChild"} == set(), path


ONE_WAY = {
    "websockets.asyncio.client.connect": {"net/client.py"},
    "websockets.asyncio.server.serve": {
        "net/server.py",
        "check/ml_service.py",
        "check/sensor/rig.py",
    },
    "websockets.sync": set(),
}
"""What opens sockets -> who may. The checker's own servers are witnesses that share nothing."""


def test_one_way_to_dial_and_one_to_serve():
    """Elsewhere proxies, redirects, bounds, Host and Origin, and the log would be forgotten."""
    for path in MODULES:
        own = path.relative_to(PACKAGE).as_posix()
        for name in imports_of(path):
            for opener, homes in ONE_WAY.items():
                assert not name.startswith(opener) or own in homes, f"{own} imports {name}"
        assert "urllib.request.urlopen" not in path.read_text(), f"{own}: it asks the user's proxy"
