"""Build the documentation as a site: `make docs`, with every warning an error.

The pages are those of this folder, the README, and a reference that is generated from the code.
They are laid out in a temporary folder, because some of them lie beside `docs/`; links between them
are adjusted.
"""

import argparse
import contextlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click

import ctgkit
from ctgkit import api
from ctgkit.check.backend.catalogue import BACKEND
from ctgkit.check.sensor.catalogue import SENSOR
from ctgkit.check.service.catalogue import SERVICE
from ctgkit.cli.main import SECTIONS, cli
from ctgkit.faults.schema import KINDS, listing, meaning_of
from ctgkit.server.endpoints import ENDPOINTS
from ctgkit.simulate.library import load_scenario, scenario_names

ROOT = Path(__file__).parent.parent
NOTE = "Written by `docs/build_site.py` from the code. A test tool, not a medical device.\n"
MOVED = {
    "README.md": "index.md",
    "README.ru.md": "ru.md",
    "PROTOCOL.md": "PROTOCOL.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
}
"""Pages beside `docs/` -> their place in the site."""
SHOWN_AS_CODE = ("examples", "deploy")
"""Folders whose files become pages that show them."""
LEFT_OUT = re.compile(r"\]\((?:\.\./)*(?:LICENSE|tests/[^)]*)\)")


def pages(site: Path) -> None:
    """Lay out all pages below *site*."""
    for source in sorted((ROOT / "docs").rglob("*")):
        inner = source.relative_to(ROOT / "docs")
        if source.is_file() and source.suffix != ".py":
            _put(source, site / inner)
    for name, place in MOVED.items():
        _put(ROOT / name, site / place)
    for folder in SHOWN_AS_CODE:
        for source in sorted((ROOT / folder).iterdir()):
            if source.suffix == ".md":
                _put(source, site / folder / source.name)
            elif source.is_file():
                shown = f"# {source.name}\n\n```{source.suffix[1:]}\n{source.read_text()}\n```\n"
                _write(site / folder / f"{source.name}.md", shown)
        if not (ROOT / folder / "README.md").exists():
            names = sorted(path.name for path in (ROOT / folder).iterdir() if path.is_file())
            listed = "".join(f"- [{name}]({name}.md)\n" for name in names)
            _write(site / folder / "index.md", f"# {folder}\n\n{listed}")
    for name, text in reference():
        _write(site / "reference" / name, text)


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".md":
        shutil.copyfile(source, target)
        return
    site = target
    while site.name != "site-source":
        site = site.parent
    _write(target, _adjusted(source, target, site))


def _adjusted(source: Path, target: Path, site: Path) -> str:
    """Return a page's text with its links as they are in the site."""

    def link(match: re.Match[str]) -> str:
        address, hash_, place = match[1].partition("#")
        if not address or "://" in address or address.startswith("mailto:"):
            return match[0]
        leads_to = (source.parent / address).resolve()
        if not leads_to.is_relative_to(ROOT):
            raise SystemExit(f"{source}: {address} leads out of the project")
        inner = leads_to.relative_to(ROOT)
        if str(inner) in MOVED:
            new = site / MOVED[str(inner)]
        elif inner.parts[0] == "docs":
            new = site / Path(*inner.parts[1:])
        elif inner.parts[0] in SHOWN_AS_CODE:
            new = site / inner.parts[0] / _shown_as(leads_to)
        else:
            raise SystemExit(f"{source}: the site has no page for {address}")
        return f"]({os.path.relpath(new, target.parent)}{hash_}{place})"

    text = LEFT_OUT.sub("]", source.read_text())
    return re.sub(r"\]\(([^)\s]+)\)", link, text)


def _shown_as(path: Path) -> str:
    """Return the name of the page that shows a file or a folder beside `docs/`."""
    if path.is_dir():
        return "README.md" if (path / "README.md").exists() else "index.md"
    return path.name if path.suffix == ".md" else f"{path.name}.md"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def reference() -> Iterator[tuple[str, str]]:
    """Yield the pages of the reference: name and text."""
    yield "commands.md", _commands()
    yield "python.md", _python()
    yield "http.md", _http()
    yield "scenarios.md", _scenarios()
    yield "faults.md", _faults()
    yield "checks.md", _checks()
    yield "metrics.md", _metrics()
    yield "schema.md", _schema()


def _commands() -> str:
    lines = ["# Command line", "", NOTE, "```text", _help(cli, "ctgkit"), "```"]
    for section, commands in SECTIONS.items():
        lines += ["", f"## {section}"]
        for name in commands:
            lines += _of_command(cli, name, "ctgkit")
    return "\n".join(lines) + "\n"


def _of_command(group: click.Group, name: str, above: str) -> Iterator[str]:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    path = f"{above} {name}"
    yield from ("", f"### {path}", "", "```text", _help(command, path), "```")
    if isinstance(command, click.Group):
        for inner in command.list_commands(click.Context(command)):
            yield from _of_command(command, inner, path)


def _help(command: click.Command, path: str) -> str:
    return command.get_help(click.Context(command, info_name=path, max_content_width=100))


def _python() -> str:
    lines = ["# Python", "", NOTE]
    for name in api.__all__:
        thing = getattr(ctgkit, name)
        lines += ["", f"## {name}", ""]
        if inspect.isfunction(thing) or inspect.isclass(thing):
            with contextlib.suppress(ValueError):
                lines += ["```python", f"{name}{inspect.signature(thing)}", "```", ""]
        lines += ["```text", inspect.getdoc(thing) or "", "```"]
    return "\n".join(lines) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [head, tuple("---" for _ in head), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def _http() -> str:
    rows = []
    for one in ENDPOINTS:
        codes = ", ".join(str(code) for code in sorted(one.bodies))
        rows.append((f"`{one.path}`", one.summary, ", ".join(map(str, one.query)) or "-", codes))
    table = _table(("path", "what", "parameters", "statuses"), rows)
    return f"# HTTP paths\n\n{NOTE}\n{table}\n\nMore in [Reading over HTTP](../rest.md).\n"


def _scenarios() -> str:
    rows = []
    for name in scenario_names():
        loaded = load_scenario(name)
        title = loaded.title if hasattr(loaded, "title") else ""
        rows.append((f"`{name}`", title, f"{loaded.duration_s / 60:g} min"))
    table = _table(("name", "what", "length"), rows)
    return f"# Scenarios\n\n{NOTE}\n{table}\n\nWith pictures: [scenarios](../scenarios.md).\n"


def _faults() -> str:
    rows = [(f"`{kind}`", meaning_of(cls)) for kind, cls in KINDS.items()]
    lines = "\n".join(listing())
    return (
        f"# Faults\n\n{NOTE}\n{_table(('fault', 'what'), rows)}\n\n```text\n{lines}\n```\n\n"
        "How they are combined: [faults](../faults.md).\n"
    )


def _checks() -> str:
    text = f"# Checks\n\n{NOTE}"
    for title, catalogue in (
        ("Of a backend", BACKEND),
        ("Of an ML service", SERVICE),
        ("Of a sensor", SENSOR),
    ):
        rows = [(f"`{one.id}`", one.level, one.title) for one in catalogue.select((), strict=True)]
        text += f"\n## {title}\n\n{_table(('check', 'level', 'what'), rows)}\n"
    return (
        text + "\nThe clauses: [PROTOCOL](../PROTOCOL.md). How to run them: [check](../check.md).\n"
    )


def _metrics() -> str:
    with (
        ctgkit.run_backend() as backend,
        urllib.request.urlopen(f"{backend.url}/metrics") as answer,
    ):
        exposed = answer.read().decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposed, re.MULTILINE))
    rows = [
        (f"`{name}`", kinds.get(name, ""), text)
        for name, text in re.findall(r"^# HELP (\S+) (.*)$", exposed, re.MULTILINE)
        if not name.endswith("_created")
    ]
    table = _table(("metric", "kind", "what"), rows)
    return f"# Metrics\n\n{NOTE}\nOf `/metrics` of `ctgkit serve`.\n\n{table}\n"


def _schema() -> str:
    text = f"# Schemas\n\n{NOTE}\n`ctgkit schema` prints each of these.\n"
    for name in ("asyncapi", "openapi", "jsonschema"):
        done = subprocess.run(
            [sys.executable, "-m", "ctgkit", "schema", name], check=True, capture_output=True
        )
        shown = json.dumps(json.loads(done.stdout), indent=2, ensure_ascii=False)
        text += f'\n## {name}\n\n??? note "{name}.json"\n\n    ```json\n'
        text += "".join(f"    {line}\n" for line in shown.splitlines()) + "    ```\n"
    return text


def main() -> None:
    """Lay out the pages and build the site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="default: ./site")
    parser.add_argument("--pages-only", type=Path, help="lay out the pages there, build nothing")
    options = parser.parse_args()
    if options.pages_only:
        pages(options.pages_only / "site-source")
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "site-source"
        pages(source)
        configuration = Path(folder) / "mkdocs.yml"
        text = (ROOT / "mkdocs.yml").read_text()
        configuration.write_text(f"{text}\ndocs_dir: {source}\nsite_dir: {options.out.resolve()}\n")
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", configuration]
        sys.exit(subprocess.run(command, check=False, env=environment).returncode)


if __name__ == "__main__":
    main()
