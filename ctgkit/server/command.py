"""``ctgkit serve`` and ``ctgkit init``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from ctgkit.cli.options import announce, common_options, current_config, limit_handshakes
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

if TYPE_CHECKING:
    from ctgkit.server.settings import BackendSettings

STORE_PREFIX = "sqlite:///"
TOKEN_MIN_CHARS = 16
"""Shortest token beyond loopback. Chosen: 96 bits in the alphabet that `ctgkit init` uses."""


def database_path(store: str | None) -> Path:
    """Return the file behind ``sqlite:///PATH``; without one, a file in the user's directory."""
    if store is None:
        return state_dir() / "ctgkit.db"
    if not store.startswith(STORE_PREFIX) or store == STORE_PREFIX:
        raise click.BadParameter(f"{store!r} is not {STORE_PREFIX}PATH", param_hint="--store")
    path = store.removeprefix(STORE_PREFIX)
    if path.startswith((":", "file:")) or "?" in path or "\0" in path:
        reason = f"{path!r} is no file's path: what was acknowledged has to be kept in one"
        raise click.BadParameter(reason, param_hint="--store")
    return Path(path)


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
@click.option(
    "--audit-log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append who came, who was refused, and the examinations: a JSON object per line.",
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Gets the URL once it serves.")
@click.option("--json", "as_json", is_flag=True, help="Print the URL as JSON.")
def serve(ready_file: Path | None, as_json: bool, **options: Any) -> None:
    """Run the backend: sensors in, SQLite, ML service, viewers out.

    Prints its URL, then serves until SIGTERM or Ctrl-C. Without a configuration file it uses
    (and makes, at the first start) credentials for three sensors in the user's state directory.
    """
    limit_handshakes()
    from ctgkit.net.eventloop import run

    run(_serve(_settings(current_config(), options), as_json, ready_file))


def _settings(config: Config, options: dict[str, Any]) -> "BackendSettings":
    from ctgkit.net.addresses import is_loopback
    from ctgkit.server.settings import BackendSettings

    if not config.sensors:
        config = default_credentials(create=True)
        click.echo(f"sensors' credentials: {config.path}", err=True)
    database = database_path(options["store"])
    click.echo(f"database: {database}", err=True)
    host = options["host"]
    exposed = not is_loopback(host)
    asks_viewers = exposed and not options["public_viewers"]
    if exposed:
        _demand_real_credentials(config, host, viewers=asks_viewers)
    tls = _tls(options["tls_cert"], options["tls_key"])
    if exposed and tls is None:
        click.echo(f"on {host} without --tls-cert: tokens and data travel unencrypted", err=True)
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
        viewer_token=config.viewer_token if asks_viewers else None,
        tls=tls,
        max_connections=options["max_connections"],
        max_rate_hz=options["max_rate"],
        audit_log=options["audit_log"],
    )


def _demand_real_credentials(config: Config, host: str, *, viewers: bool) -> None:
    """Refuse to serve a network with tokens that somebody could guess."""
    tokens = {f"token of sensor {s.id}": s.token for s in config.sensors if s.token}
    if viewers:
        tokens["viewer_token"] = config.viewer_token or ""
    for name, token in tokens.items():
        if len(token) < TOKEN_MIN_CHARS or len(set(token)) < TOKEN_MIN_CHARS // 2:
            what = "is missing" if not token else "is too easy to guess"
            hint = f"`ctgkit init` makes good ones, {TOKEN_MIN_CHARS} characters are the least"
            if name == "viewer_token":
                hint += "; --public-viewers needs none"
            raise ConfigError(str(config.path), f"{name} {what}, to serve on {host}: {hint}")


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
    import asyncio
    import signal
    from gc import freeze

    from ctgkit.net.eventloop import stop_on_signals
    from ctgkit.server.app import run_backend

    async with run_backend(settings) as backend:
        stop = stop_on_signals()
        if settings.audit_log:  # logrotate's scripts send it; the log finds the new file by itself
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
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
