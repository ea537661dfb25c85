"""``ctgkit serve`` and ``ctgkit init``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from ctgkit.config import (
    DEFAULT_SENSORS,
    FILE_NAME,
    Config,
    default_credentials,
    new_sensors,
    state_dir,
    write_config,
)
from ctgkit.errors import ConfigError
from ctgkit.options import announce, common_options, current_config

if TYPE_CHECKING:
    from ctgkit.server.settings import BackendSettings

STORE_PREFIX = "sqlite:///"


def database_path(store: str | None) -> Path:
    """Return the file behind ``sqlite:///PATH``; without one, a file in the user's directory."""
    if store is None:
        return state_dir() / "ctgkit.db"
    if not store.startswith(STORE_PREFIX) or store == STORE_PREFIX:
        raise click.BadParameter(f"{store!r} is not {STORE_PREFIX}PATH", param_hint="--store")
    return Path(store.removeprefix(STORE_PREFIX))


store_option = click.option(
    "--store", metavar="sqlite:///PATH", help="Database; default: in the user's state directory."
)


@click.command(epilog="Example: ctgkit serve --port 8080 --store sqlite:///ctg.db")
@common_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", default=8080, show_default=True, help="Port; 0 picks a free one.")
@store_option
@click.option(
    "--ml",
    metavar="URL|none",
    default="ws://127.0.0.1:8081/ws/ctg",
    show_default=True,
    help="The ML service, or none.",
)
@click.option(
    "--ml-format",
    type=click.Choice(["nested", "flat", "both"]),
    default="nested",
    show_default=True,
    help="Shape of what the ML service gets; the original one needs flat.",
)
@click.option(
    "--ml-retry",
    type=click.FloatRange(0.05),
    default=5.0,
    show_default=True,
    help="Seconds between attempts to reach the ML service.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Seconds an examination stays open after its last sensor left.",
)
@click.option(
    "--durability",
    type=click.Choice(["full", "normal"]),
    default="full",
    show_default=True,
    help="Whether committed samples survive a power cut too, or only a crash.",
)
@click.option("--origin", multiple=True, metavar="URL", help="Allow this web origin (repeatable).")
@click.option("--allow-host", multiple=True, metavar="NAME", help="Allow this Host (repeatable).")
@click.option("--public-viewers", is_flag=True, help="Ask remote viewers for no access token.")
@click.option("--max-connections", type=click.IntRange(1), default=10_000, show_default=True)
@click.option(
    "--max-rate",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Samples/s per sensor beyond which reading is held back; 0: no limit.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--ready-file", type=click.Path(path_type=Path), help="Gets the URL once it serves.")
@click.option("--json", "as_json", is_flag=True, help="Print the URL as JSON.")
def serve(ready_file: Path | None, as_json: bool, **options: Any) -> None:
    """Run the backend: sensors in, SQLite, ML service, viewers out.

    Prints its URL, then serves until SIGTERM or Ctrl-C. Without a configuration file it uses
    (and makes, at the first start) credentials for three sensors in the user's state directory.
    """
    from ctgkit.eventloop import run

    run(_serve(_settings(current_config(), options), as_json, ready_file))


def _settings(config: Config, options: dict[str, Any]) -> "BackendSettings":
    from ctgkit.server.routes import LOOPBACK_NAMES
    from ctgkit.server.settings import BackendSettings

    if not config.sensors:
        config = default_credentials(create=True)
        click.echo(f"sensors' credentials: {config.path}", err=True)
    database = database_path(options["store"])
    click.echo(f"database: {database}", err=True)
    host = options["host"]
    exposed = host not in LOOPBACK_NAMES and not options["public_viewers"]
    if exposed and not config.viewer_token:
        raise ConfigError(
            str(config.path), f"viewer_token is required on {host} (or use --public-viewers)"
        )
    ml_url = None if options["ml"] == "none" else options["ml"]
    if ml_url and (urlsplit(ml_url).scheme not in ("ws", "wss") or not urlsplit(ml_url).hostname):
        raise click.BadParameter(f"{ml_url!r} is not ws://HOST:PORT/PATH", param_hint="--ml")
    return BackendSettings(
        sensors=config.sensors,
        database=database,
        host=host,
        port=options["port"],
        ml_url=ml_url,
        ml_format=options["ml_format"],
        ml_retry_s=options["ml_retry"],
        grace_s=options["grace"],
        durability=options["durability"],
        hosts=frozenset(name.lower() for name in options["allow_host"]),
        origins=frozenset(options["origin"]),
        viewer_token=config.viewer_token if exposed else None,
        tls=_tls(options["tls_cert"], options["tls_key"]),
        max_connections=options["max_connections"],
        max_rate_hz=options["max_rate"],
    )


def _tls(certificate: Path | None, key: Path | None) -> Any:
    if certificate is None:
        if key is not None:
            raise click.UsageError("--tls-key needs --tls-cert")
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(str(certificate), str(error)) from error
    return context


async def _serve(settings: "BackendSettings", as_json: bool, ready_file: Path | None) -> None:
    from gc import freeze

    from ctgkit.eventloop import stop_on_signals
    from ctgkit.server.app import run_backend

    async with run_backend(settings) as backend:
        stop = stop_on_signals()
        freeze()  # its full collections would pause the live loop for what start-up made
        announce(backend.url, as_json=as_json, ready_file=ready_file)
        await stop.wait()


@click.command(epilog="Example: ctgkit init --sensors 5")
@common_options
@click.option(
    "--sensors", type=click.IntRange(1, 10_000), default=DEFAULT_SENSORS, show_default=True
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def init(sensors: int, force: bool) -> None:
    """Write ctgkit.toml with random sensor ids and tokens, readable by you only."""
    path = Path(FILE_NAME)
    write_config(path, new_sensors(sensors, control_port=9001), replace=force)
    click.echo(f"{path}: {sensors} sensors")
