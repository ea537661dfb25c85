"""``ctgkit ml``: run the stub ML service."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from ctgkit.analysis.choices import guideline_option
from ctgkit.cli.options import (
    announce,
    command,
    json_option,
    limit_handshakes,
    option,
    ready_file_option,
)
from ctgkit.cli.types import PORT, SECONDS, File, Host


@dataclass(frozen=True, slots=True, kw_only=True)
class MlOptions:
    """Options of `ctgkit ml`."""

    host: str = option(
        "--host", type=Host(), default="127.0.0.1", help="Address of the interface to listen on."
    )
    port: int = option("--port", type=PORT, default=8081, help="Port; 0 picks a free one.")
    guideline: str = guideline_option(
        "Guideline for the classification; FIGO is always evaluated as well."
    )
    script_file: Path | None = option(
        "--script",
        type=File(exists=True),
        help="TOML file of rules for canned, late, wrong or missing answers (docs/ml-script.md).",
    )
    lang: Literal["en", "ru"] | None = option(
        "--lang",
        type=click.Choice(["en", "ru"]),
        section="Answers",
        help="Language of alerts and recommendations; default: en, or ru for the original profile.",
    )
    profile: Literal["ctgkit", "original"] = option(
        "--profile",
        type=click.Choice(["ctgkit", "original"]),
        default="ctgkit",
        section="Answers",
        help="original: send exactly the fields of the original ML service, with its confidence.",
    )
    idle_s: float = option(
        "--idle",
        type=SECONDS,
        default=600.0,
        section="Answers",
        help="Drop the state of a sensor that has been silent for S seconds.",
    )
    ready_file: Path | None = ready_file_option("Write the URL to FILE once it serves.")
    as_json: bool = json_option('Print the URL as {"url": …}.')


@command(MlOptions, example="ctgkit ml --port 8081")
def ml(options: MlOptions) -> None:
    """Run the stub ML service: samples in, predictions out.

    Listens on /ws/ctg for a backend; GET /health, /sensors and /metrics report its state.
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
    if options.script_file is not None:
        script = parse_script(toml.read_text(options.script_file), str(options.script_file))
    language = options.lang or ("ru" if options.profile == "original" else "en")
    settings = MlSettings(
        host=options.host,
        port=options.port,
        idle_s=options.idle_s,
        analysis=AnalyzerSettings(
            guideline=options.guideline, language=language, profile=options.profile
        ),
        script=script,
    )

    async def main() -> None:
        stop = stop_on_signals()
        async with MlService(settings) as service:
            announce(service.url, as_json=options.as_json, ready_file=options.ready_file)
            await stop.wait()

    try:
        run(main())
    except OSError as error:
        address = f"{options.host}:{options.port}"
        raise Unreachable(address, f"cannot listen: {error.strerror}") from error
