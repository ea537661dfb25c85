"""``ctgkit serve`` and ``ctgkit init``."""

import re
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ctgkit.cli.options import (
    OUTPUT,
    announce,
    command,
    current_config,
    json_option,
    limit_handshakes,
    option,
    ready_file_option,
    store_option,
)
from ctgkit.cli.stores import BusAddress
from ctgkit.cli.types import (
    JSON_LINES,
    PAUSE,
    PORT,
    SENSORS,
    File,
    Host,
    OutFile,
    Refined,
    Url,
    number,
    seconds,
    whole,
)
from ctgkit.config import (
    DEFAULT_SENSORS,
    FILE_NAME,
    Config,
    default_credentials,
    demand_real_credentials,
    new_sensors,
    state_dir,
    write_config,
)
from ctgkit.dsn import Dsn
from ctgkit.errors import ConfigError
from ctgkit.net.addresses import websocket_url

if TYPE_CHECKING:
    from ctgkit.profile.mlservice import WindowSettings
    from ctgkit.server.settings import BackendSettings

DATABASE_NAME = "ctgkit.db"
GC_THRESHOLDS = (10_000, 20, 20)
"""Instead of 700, 10, 10: a full group is 8,000 rows that wait, and none of them is a cycle."""
SECURITY = "Who may connect"
LIMITS = "Storage and limits"


def default_database(config: Config) -> Path:
    """Return the file that is used without ``--store``: the project's, or else the user's.

    A project is a folder with a ``ctgkit.toml`` of its own; its database lies beside it.
    """
    folder = config.path.parent if config.path and config.is_projects else state_dir()
    return folder / DATABASE_NAME


def _origin(text: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", text):
        raise ValueError(f"{text[:80]!r} is not http(s)://HOST[:PORT]")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", text):
        raise ValueError(f"{text[:80]!r} is not a host name")
    return text.lower()


def _node(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", text):
        raise ValueError(f"{text[:80]!r} is not a node name: letters, digits, . _ : -")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of `ctgkit serve`."""

    host: str = option(
        "--host", type=Host(), default="127.0.0.1", help="Address of the interface to listen on."
    )
    port: int = option("--port", type=PORT, default=8080, help="Port; 0 picks a free one.")
    store: Path | Dsn | None = store_option(
        "Database; default: ctgkit.db next to the project's ctgkit.toml, or else in the user's"
        " state directory."
    )
    ml: tuple[str, ...] = option(
        "--ml",
        type=Url("", word="none", as_is=True),
        multiple=True,
        default=("ws://127.0.0.1:8081/ws/ctg",),
        help="URL of the ML service, or none; http:// needs --ml-profile. Repeatable: the sensors"
        " are divided among several services.",
    )
    grace: float = option(
        "--grace",
        type=PAUSE,
        default=0.0,
        show_default=True,
        help="Keep an examination open for S seconds after its last sensor disconnected.",
    )
    handover: float | None = option(
        "--handover",
        type=PAUSE,
        help="Like --grace, after a connection that was lost (close code 1001, 1006 or 1012); the"
        " longer of the two applies. Default: 15 with PostgreSQL, else 0.",
    )
    ml_profile: str | None = option(
        "--ml-profile",
        metavar="NAME|FILE.toml",
        section="ML service",
        help="Profile that describes the requests to an ML service over HTTP (docs/profiles.md).",
    )
    ml_format: Literal["nested", "flat", "both"] = option(
        "--ml-format",
        type=click.Choice(["nested", "flat", "both"]),
        default="nested",
        section="ML service",
        help="Format of the requests to the ML service; the original service needs flat.",
    )
    ml_retry: float = option(
        "--ml-retry",
        type=seconds(0.05),
        default=5.0,
        section="ML service",
        help="Seconds between attempts to reach the ML service.",
    )
    origin: tuple[str, ...] = option(
        "--origin",
        type=Refined("URL", _origin),
        multiple=True,
        section=SECURITY,
        help="Allow web pages of this origin (repeatable).",
    )
    allow_host: tuple[str, ...] = option(
        "--allow-host",
        type=Refined("NAME", _name),
        multiple=True,
        section=SECURITY,
        help="Accept this name in the Host header (repeatable).",
    )
    public_viewers: bool = option(
        "--public-viewers",
        is_flag=True,
        section=SECURITY,
        help="Let viewers on other machines connect without an access token.",
    )
    tls_cert: Path | None = option(
        "--tls-cert",
        type=File(exists=True),
        section=SECURITY,
        help="Certificate chain (PEM): serve https:// and wss://.",
    )
    tls_key: Path | None = option(
        "--tls-key",
        type=File(exists=True),
        section=SECURITY,
        help="Its private key (PEM), if it is not in the same file.",
    )
    audit_log: Path | None = option(
        "--audit-log",
        type=OutFile(**JSON_LINES),
        section=SECURITY,
        help="Append connections, refusals and examinations to FILE, one JSON object per line.",
    )
    durability: Literal["full", "normal"] = option(
        "--durability",
        type=click.Choice(["full", "normal"]),
        default="full",
        section=LIMITS,
        help="Committed samples survive a power failure (full) or only a crash (normal).",
    )
    keep_days: float = option(
        "--keep-days",
        type=number("N", 0, 36_500),
        default=0.0,
        section=LIMITS,
        help="Delete examinations that ended more than N days ago; 0 keeps all.",
    )
    pack_after: float = option(
        "--pack-after",
        type=number("N", 0, 36_500),
        default=0.0,
        section=LIMITS,
        help="Compress examinations that ended more than N days ago (SQLite only): `ctgkit` reads"
        " them as before, SQL on the table ctg no longer does; 0: never.",
    )
    bus: str | None = option(
        "--bus",
        type=BusAddress(),
        help="NATS server through which viewers of any node see the sensors of all nodes. Put"
        " secrets in the configuration or in CTGKIT_SERVE_BUS.",
    )
    node: str = option(
        "--node",
        type=Refined("NAME", _node),
        default="",
        section=LIMITS,
        help="Name of this node among those that share a PostgreSQL database; default: the"
        " machine's name.",
    )
    keep_results: Literal["changes", "all"] = option(
        "--keep-results",
        type=click.Choice(["changes", "all"]),
        default="changes",
        section=LIMITS,
        help="Store a result when it differs from the sensor's last one, or each; `exam export`"
        " writes all either way.",
    )
    max_connections: int = option(
        "--max-connections",
        type=whole("N", 1, 1_000_000),
        default=10_000,
        section=LIMITS,
        help="Sensors and viewers at a time; more are refused with 503.",
    )
    max_rate: float = option(
        "--max-rate",
        type=number("HZ", 0, 1e6),
        default=0.0,
        show_default=True,
        section=LIMITS,
        help="Samples/s per sensor beyond which reading is held back; 0: no limit.",
    )
    ready_file: Path | None = ready_file_option("Write the URL to FILE once it serves.")
    as_json: bool = json_option("Print the URL as JSON.")


@command(ServeOptions, example="ctgkit serve --port 8080 --store sqlite:///ctg.db")
def serve(options: ServeOptions) -> None:
    """Run the backend: sensors in, database, ML service, viewers out.

    Prints its URL, then serves until SIGTERM or Ctrl-C. Without a configuration file it uses
    credentials for three sensors in the user's state directory, and creates them at the first
    start.
    """
    limit_handshakes()
    from ctgkit.net.eventloop import run

    windows = _windows(options)
    settings = _settings(current_config(), options)
    run(_serve(settings, windows, options.as_json, options.ready_file))


def _windows(options: ServeOptions) -> "WindowSettings | None":
    """Return how an ML service behind HTTP is asked."""
    web = [url for url in options.ml if url.startswith("http")]
    if len(options.ml) > 1 and (
        web or "none" in options.ml or len(set(options.ml)) < len(options.ml)
    ):
        raise click.UsageError("--ml: several must be different addresses, ws:// or wss://")
    if options.ml_profile is None:
        if web:
            raise click.UsageError(
                f"--ml {web[0]}: http:// needs --ml-profile, how that service is asked"
            )
        return None
    if not web:
        raise click.UsageError("--ml-profile needs --ml http://…")
    from ctgkit.profile.library import load_profile, read_secrets
    from ctgkit.profile.mlservice import WindowSettings

    renderer = load_profile(options.ml_profile, web[0])
    return WindowSettings(renderer=renderer, secrets=read_secrets(renderer.profile, renderer.where))


def _settings(config: Config, options: ServeOptions) -> "BackendSettings":
    from ctgkit.net.addresses import is_loopback
    from ctgkit.server.settings import BackendSettings

    tls = _tls(options.tls_cert, options.tls_key)
    database = options.store or default_database(config)
    if options.pack_after and isinstance(database, Dsn):
        raise click.UsageError("--pack-after is for SQLite: PostgreSQL stores rows as they are")
    if not config.sensors and isinstance(database, Dsn):  # other nodes wouldn't know made ones
        click.echo("sensors: those of the database (`ctgkit sensors add`)", err=True)
    elif not config.sensors:
        config = default_credentials(create=True)
        click.echo(f"sensors' credentials: {config.path}", err=True)
    click.echo(f"database: {database}", err=True)
    host = options.host
    exposed = not is_loopback(host)
    asks_viewers = exposed and not options.public_viewers
    if exposed:
        demand_real_credentials(config, host, viewers=asks_viewers)
    if exposed and tls is None:
        click.echo(f"on {host} without --tls-cert: tokens and data travel unencrypted", err=True)
    return BackendSettings(
        sensors=config.sensors,
        database=database,
        host=host,
        port=options.port,
        ml_url=tuple(_ml_url(url) for url in options.ml if url != "none"),
        ml_format=options.ml_format,
        ml_retry_s=options.ml_retry,
        grace_s=options.grace,
        handover_s=options.handover,
        durability=options.durability,
        node=options.node,
        keep_days=options.keep_days,
        pack_days=options.pack_after,
        bus=options.bus,
        keep_results=options.keep_results,
        hosts=frozenset(options.allow_host),
        origins=frozenset(options.origin),
        viewer_token=config.viewer_token if asks_viewers else None,
        tls=tls,
        max_connections=options.max_connections,
        max_rate_hz=options.max_rate,
        audit_log=options.audit_log,
    )


def _ml_url(url: str) -> str:
    return url if url.startswith("http") else websocket_url(url, "")


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


async def _serve(
    settings: "BackendSettings",
    windows: "WindowSettings | None",
    as_json: bool,
    ready_file: Path | None,
) -> None:
    import asyncio
    import signal
    from gc import freeze, set_threshold

    from ctgkit.net.eventloop import stop_on_signals
    from ctgkit.server.app import run_backend

    async with AsyncExitStack() as stack:
        if windows is not None:
            from ctgkit.profile.mlservice import HttpMlService

            service = await stack.enter_async_context(HttpMlService(windows))
            settings = replace(settings, ml_url=service.url, ml_format="nested")
        backend = await stack.enter_async_context(run_backend(settings))
        stop = stop_on_signals()
        if settings.audit_log:  # logrotate's scripts send it; the log finds the new file by itself
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
        freeze()  # its full collections would pause the live loop for what start-up made
        set_threshold(*GC_THRESHOLDS)
        announce(backend.url, as_json=as_json, ready_file=ready_file)
        await stop.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """Options of `ctgkit init`."""

    sensors: int = option(
        "--sensors", type=SENSORS, default=DEFAULT_SENSORS, help="Number of sensors."
    )
    force: bool = option("--force", is_flag=True, section=OUTPUT, help="Replace an existing file.")


@command(InitOptions, example="ctgkit init --sensors 5")
def init(options: InitOptions) -> None:
    """Write ctgkit.toml with random sensor ids and tokens, readable by you only."""
    path = Path(FILE_NAME)
    sensors = new_sensors(options.sensors, control_port=9001)
    write_config(path, sensors, replace=options.force)
    click.echo(f"{path}: {options.sensors} sensors")
