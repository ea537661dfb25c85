"""What is in deploy/: read by the programs it is for where they are here, run by tests/chaos."""

import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import click
import pytest

from ctgkit.cli.main import cli
from tests.extras import need
from tests.postgres import asked, clusters

DEPLOY = Path(__file__).parent.parent / "deploy"
ENV = {"CTGKIT_BIND": "127.0.0.1:1", "CTGKIT_NODE_1": "127.0.0.1:2", "CTGKIT_NODE_2": "[::1]:3"}


def commands():
    """Yield (where, words) for each `ctgkit …` in the files and in the page about them."""
    need("yaml")
    import yaml

    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        if service.get("image") == "ctgkit":
            yield f"compose.yaml, {name}", shlex.split(service["command"])
    page = (DEPLOY.parent / "docs" / "scale.md").read_text()
    (manifest,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (container,) = yaml.safe_load(manifest)["spec"]["template"]["spec"]["containers"]
    yield "scale.md, Kubernetes", [str(a).replace("$(NODE)", "pod-1") for a in container["args"]]
    unit = (DEPLOY / "ctgkit-serve@.service").read_text()
    (line,) = re.findall(r"^ExecStart=\S+/ctgkit (.*)$", unit, re.MULTILINE)
    line = line.replace("%i", "8080").replace("%H", "host")
    yield "ctgkit-serve@.service", shlex.split(line)


def parsed(words):
    """Return the values of a command line; click says what is wrong with it."""
    words = [w for n, w in enumerate(words) if w != "--config" and words[n - 1] != "--config"]
    name, *rest = words
    context = click.Context(cli)
    return cli.get_command(context, name).make_context(name, rest, parent=context).params


def test_every_command_line_is_one(monkeypatch, tmp_path):
    """Options exist and take these values; nodes differ in their names only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    values = {where: parsed(words) for where, words in commands()}
    assert {"compose.yaml, node1", "compose.yaml, sensors", "ctgkit-serve@.service"} <= set(values)
    one, two = values["compose.yaml, node1"], values["compose.yaml, node2"]
    assert {key for key in one if one[key] != two[key]} == {"node"}
    assert len(one["ml"]) == 2


def test_the_environment_of_compose_is_read(monkeypatch, tmp_path):
    """What holds secrets comes from variables; `serve` takes them from there."""
    need("yaml")
    import yaml

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    node = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["node1"]
    for name, value in node["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{CTGKIT_DB_PASSWORD:[^}]*\}", "p4ss", value))
    context = click.Context(cli, auto_envvar_prefix="CTGKIT")
    command = cli.get_command(context, "serve")
    values = command.make_context("serve", [], parent=context).params
    assert values["bus"] == "nats://nats:4222/ctgkit"
    assert "p4ss" not in str(values["store"])
    assert values["store"].has_password


def test_haproxy_takes_its_file():
    """Its own check of the configuration."""
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
    if haproxy is None:
        pytest.skip("haproxy is not installed")
    done = subprocess.run(
        [haproxy, "-c", "-f", DEPLOY / "haproxy.cfg"], env=ENV, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_systemd_takes_its_file(tmp_path):
    """`systemd-analyze verify`, with a program where ours would be."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / "ctgkit"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    text = (DEPLOY / "ctgkit-serve@.service").read_text()
    unit = tmp_path / "ctgkit-serve@8080.service"
    unit.write_text(text.replace("/opt/ctgkit/venv/bin/ctgkit", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "ctgkit-serve" in line]
    assert ours == []


@pytest.mark.slow
def test_postgresql_takes_its_file():
    """A server starts with these lines, and has understood each."""
    with clusters() as make:
        server = make()
        with (server.data / "postgresql.conf").open("a") as file:
            file.write((DEPLOY / "postgresql.conf").read_text())
        del server.settings["max_connections"]
        server.start()
        where = server.dsn("postgres", host=False)
        wrong = (
            "SELECT name FROM pg_file_settings WHERE error IS NOT NULL AND name NOT LIKE 'shared%'"
        )
        assert asked(where, wrong) == []
        assert asked(where, "SHOW synchronous_standby_names") == [("ANY 1 (standby)",)]
