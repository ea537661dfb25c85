"""``ctgkit ml``: run the stub ML service."""

from pathlib import Path
from typing import Literal

import click

from ctgkit.cli.options import announce, common_options, limit_handshakes

GUIDELINE_NAMES = (
    "figo",
    "nichd",
    "fischer",
    "fischer-savelyeva",
    "krebs",
    "ng229",
    "dawes-redman",
)
"""The keys of :data:`ctgkit.analysis.tables.GUIDELINES`, which needs numpy to be imported."""


@click.command(epilog="Example: ctgkit ml --port 8081")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8081,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--idle",
    "idle_s",
    default=600.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Forget a sensor that is silent for so many seconds.",
)
@click.option(
    "--guideline",
    type=click.Choice(GUIDELINE_NAMES),
    default="figo",
    show_default=True,
    help="Judge by it; FIGO is always judged as well.",
)
@click.option(
    "--lang",
    type=click.Choice(["en", "ru"]),
    help="Language of alerts and recommendations; default en, ru for the original profile.",
)
@click.option(
    "--profile",
    type=click.Choice(["ctgkit", "original"]),
    default="ctgkit",
    show_default=True,
    help="original: exactly the fields and the confidence of the original ML service.",
)
@click.option(
    "--script",
    "script_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="TOML file of rules: canned, late, wrong or no answers (docs/ml-script.md).",
)
@click.option(
    "--ready-file", type=click.Path(path_type=Path, dir_okay=False), help="Write the URL there."
)
@click.option("--json", "as_json", is_flag=True, help='Print the URL as {"url": …}.')
@common_options
def ml(
    host: str,
    port: int,
    idle_s: float,
    guideline: str,
    lang: Literal["en", "ru"] | None,
    profile: Literal["ctgkit", "original"],
    script_file: Path | None,
    ready_file: Path | None,
    as_json: bool,
) -> None:
    """Run the stub ML service: samples in, predictions out.

    Listens on /ws/ctg for a backend; GET /health, /sensors and /metrics tell how it is doing.
    A test tool, not a medical device.
    """
    limit_handshakes()
    from ctgkit import toml
    from ctgkit.analysis.analyzer import AnalyzerSettings
    from ctgkit.errors import Unreachable
    from ctgkit.mlstub.script import parse_script
    from ctgkit.mlstub.service import MlService, MlSettings
    from ctgkit.net.eventloop import run, stop_on_signals

    script = None
    if script_file is not None:
        script = parse_script(toml.read_text(script_file), str(script_file))
    language = lang or ("ru" if profile == "original" else "en")
    settings = MlSettings(
        host=host,
        port=port,
        idle_s=idle_s,
        analysis=AnalyzerSettings(guideline=guideline, language=language, profile=profile),
        script=script,
    )

    async def main() -> None:
        stop = stop_on_signals()
        async with MlService(settings) as service:
            announce(service.url, as_json=as_json, ready_file=ready_file)
            await stop.wait()

    try:
        run(main())
    except OSError as error:
        raise Unreachable(f"{host}:{port}", f"cannot listen: {error.strerror}") from error
