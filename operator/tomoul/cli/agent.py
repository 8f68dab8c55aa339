"""`tomoul agent`: runs beside each Envoy of a gateway."""

import asyncio
from pathlib import Path

import click
from kubernetes.aio.config import ConfigException

from tomoul.api.gatewaylimits import (
    COMMENT_SECONDS,
    HIGHEST_BODY_BYTES,
    MAX_BODY_BYTES,
    MAX_HELD_BYTES,
    MIN_BODY_BYTES,
)
from tomoul.cli.logs import LogFormat, setup_logging
from tomoul.cli.options import kubeconfig_option, log_format_option, no_api_server, option
from tomoul.gateway.agent.ads import check_socket_path
from tomoul.gateway.agent.drain import DrainOptions
from tomoul.gateway.agent.run import AgentOptions, run_agent
from tomoul.gateway.compile.resources import GatewayOptions
from tomoul.gateway.filter.build import BuildError, install_filter
from tomoul.plan.gateway import DRAIN_TOKEN_HEADER
from tomoul.plan.listening import ALL_IPV4

SHORTEST_SALT_KEY = 16


def read_socket(_context: click.Context, _parameter: click.Parameter, path: Path) -> Path:
    """The path, if a socket can have it."""
    try:
        check_socket_path(path)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return path


def read_salt_key(_context: click.Context, _parameter: click.Parameter, path: Path) -> bytes:
    """The file's bytes as they are; every gateway of the installation must have the same."""
    key = path.read_bytes()
    if len(key) < SHORTEST_SALT_KEY:
        raise click.BadParameter(f"`{path}` holds {len(key)} bytes; a salt key has at least {SHORTEST_SALT_KEY}")
    return key


@click.command()
@option("--region", envvar="TOMOUL_REGION", required=True, help="Region whose calls this gateway serves.")
@option(
    "--socket",
    envvar="TOMOUL_SOCKET",
    type=click.Path(path_type=Path),
    callback=read_socket,
    required=True,
    help="Unix socket on which Envoy finds its configuration; at most 107 bytes.",
)
@option(
    "--snapshot-dir",
    envvar="TOMOUL_SNAPSHOT_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the last accepted state, from which a restart serves.",
)
@option(
    "--salt-key-file",
    "salt_key",
    envvar="TOMOUL_SALT_KEY_FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    callback=read_salt_key,
    required=True,
    help="File with the secret that cache salts are derived from.",
)
@option(
    "--pod-name",
    envvar=["TOMOUL_POD_NAME", "POD_NAME"],
    required=True,
    help="Name of this gateway in the status of RoutingTables.",
)
@option(
    "--module-dir",
    envvar="TOMOUL_MODULE_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder into which the gateway's filter is put, where Envoy looks for its modules.",
)
@option(
    "--listen-address",
    envvar="TOMOUL_LISTEN_ADDRESS",
    default=ALL_IPV4,
    help="Address on which Envoy serves calls; `::` is all of both families.",
)
@option(
    "--listen-port",
    envvar="TOMOUL_LISTEN_PORT",
    type=click.IntRange(0, 65535),
    default=8080,
    help="Port on which Envoy serves calls; 0 takes a free one.",
)
@option(
    "--max-body-bytes",
    envvar="TOMOUL_MAX_BODY_BYTES",
    type=click.IntRange(MIN_BODY_BYTES, HIGHEST_BODY_BYTES),
    default=MAX_BODY_BYTES,
    help="Largest body of a call; what is larger is answered 413.",
)
@option(
    "--max-held-bytes",
    envvar="TOMOUL_MAX_HELD_BYTES",
    type=click.IntRange(min=MIN_BODY_BYTES),
    default=MAX_HELD_BYTES,
    help="Most that answers of engines take of memory while they arrive, all together; past it they give way to a 503.",
)
@option(
    "--stream-comment-seconds",
    envvar="TOMOUL_STREAM_COMMENT_SECONDS",
    type=click.IntRange(min=0),
    default=COMMENT_SECONDS,
    help="After how long an engine's silence the client of a stream gets a comment; 0 for never.",
)
@option(
    "--health-port",
    envvar="TOMOUL_HEALTH_PORT",
    type=click.IntRange(0, 65535),
    default=8081,
    help="Port of /healthz, /readyz and /metrics; 0 takes a free one.",
)
@option(
    "--admin-socket",
    envvar="TOMOUL_ADMIN_SOCKET",
    type=click.Path(path_type=Path),
    help="Unix socket of Envoy's admin interface. With it the agent serves /drain, which takes Envoy out of service "
    "and answers once its calls have ended.",
)
@option(
    "--drain-port",
    envvar="TOMOUL_DRAIN_PORT",
    type=click.IntRange(0, 65535),
    default=9092,
    help="Port of /drain, for the kubelet alone; 0 takes a free one.",
)
@option(
    "--drain-token",
    envvar="TOMOUL_DRAIN_TOKEN",
    default="",
    help=f"What `{DRAIN_TOKEN_HEADER}` must say to /drain; empty lets everybody drain who reaches the port.",
)
@option(
    "--drain-seconds",
    envvar="TOMOUL_DRAIN_SECONDS",
    type=click.FloatRange(min=0),
    default=600.0,
    help="How long /drain waits at most.",
)
@option(
    "--relist-seconds",
    envvar="TOMOUL_RELIST_SECONDS",
    type=click.FloatRange(min=1),
    default=600.0,
    help="How often a list repairs what watches may have missed.",
)
@kubeconfig_option
@log_format_option
def command(
    region: str,
    socket: Path,
    snapshot_dir: Path,
    salt_key: bytes,
    pod_name: str,
    module_dir: Path | None,
    listen_address: str,
    listen_port: int,
    max_body_bytes: int,
    max_held_bytes: int,
    stream_comment_seconds: int,
    health_port: int,
    admin_socket: Path | None,
    drain_port: int,
    drain_token: str,
    drain_seconds: float,
    relist_seconds: float,
    kubeconfig: str | None,
    log_format: LogFormat,
) -> None:
    """Run the agent beside a gateway's Envoy."""
    setup_logging(log_format)
    if module_dir:
        try:
            install_filter(module_dir)
        except (BuildError, OSError) as error:
            raise click.ClickException(f"the filter cannot be put into `{module_dir}`: {error}") from error
    options = AgentOptions(
        gateway=GatewayOptions(
            region=region,
            listen_address=listen_address,
            listen_port=listen_port,
            max_body_bytes=max_body_bytes,
            max_held_bytes=max_held_bytes,
            comment_seconds=stream_comment_seconds,
            salt_key=salt_key,
        ),
        pod_name=pod_name,
        socket=socket,
        snapshot_dir=snapshot_dir,
        drain=DrainOptions(admin_socket, drain_port, drain_seconds, token=drain_token) if admin_socket else None,
        health_port=health_port,
        relist_seconds=relist_seconds,
    )
    try:
        asyncio.run(run_agent(options, kubeconfig))
    except ConfigException as error:
        raise no_api_server(error) from error
