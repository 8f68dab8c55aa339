"""`tomoul operator`: keeps a cluster as its Regions, ModelDeployments and Tenants say."""  # noqa: A005 - in a package

import logging
import sys

import click
from kubernetes.aio.config import ConfigException

from tomoul.cli.ending import run_to_the_end
from tomoul.cli.logs import LogFormat, setup_logging
from tomoul.cli.options import kubeconfig_option, log_format_option, no_api_server, option
from tomoul.cli.settings import settings_options
from tomoul.controller.lease import LeaseLostError
from tomoul.controller.options import OperatorOptions
from tomoul.controller.run import run_operator
from tomoul.controller.scaling.demand import REFUSED_SECONDS
from tomoul.controller.scaling.sampler import SAMPLE_SECONDS
from tomoul.plan.settings import Settings

logger = logging.getLogger(__name__)


@click.command()
@settings_options
@option(
    "--workers",
    envvar="TOMOUL_WORKERS",
    type=click.IntRange(1, 64),
    default=32,
    help="Resources that are reconciled at the same time.",
)
@option(
    "--health-port",
    envvar="TOMOUL_HEALTH_PORT",
    type=click.IntRange(0, 65535),
    default=8081,
    help="Port of /healthz and /readyz; 0 takes a free one.",
)
@option(
    "--metrics-port",
    envvar="TOMOUL_METRICS_PORT",
    type=click.IntRange(0, 65535),
    default=9090,
    help="Port of /metrics; 0 takes a free one.",
)
@option(
    "--lease-name",
    envvar="TOMOUL_LEASE_NAME",
    default="tomoul-operator",
    help="Lease in the namespace by which replicas elect the one that writes.",
)
@option(
    "--resync-seconds",
    envvar="TOMOUL_RESYNC_SECONDS",
    type=click.FloatRange(min=1),
    default=90.0,
    help="How often lists repair what watches may have missed.",
)
@option(
    "--external-metrics-service",
    envvar="TOMOUL_EXTERNAL_METRICS_SERVICE",
    default="",
    help="Service in --namespace by which the API server gets external metrics from here; none if not given.",
)
@option(
    "--external-metrics-port",
    envvar="TOMOUL_EXTERNAL_METRICS_PORT",
    type=click.IntRange(0, 65535),
    default=8443,
    help="Port of the external metrics; 0 takes a free one.",
)
@option(
    "--sample-seconds",
    envvar="TOMOUL_SAMPLE_SECONDS",
    type=click.FloatRange(min=0.1),
    default=SAMPLE_SECONDS,
    help="How often the gateways are asked for the calls in flight of pools that scale.",
)
@option(
    "--refused-seconds",
    envvar="TOMOUL_REFUSED_SECONDS",
    type=click.FloatRange(min=1),
    default=REFUSED_SECONDS,
    help="How long a refused call asks for a replica of a pool that has none; clients are told to come again within "
    "a minute.",
)
@kubeconfig_option
@log_format_option
def command(
    settings: Settings,
    workers: int,
    health_port: int,
    metrics_port: int,
    lease_name: str,
    resync_seconds: float,
    external_metrics_service: str,
    external_metrics_port: int,
    sample_seconds: float,
    refused_seconds: float,
    kubeconfig: str | None,
    log_format: LogFormat,
) -> None:
    """Run the operator."""
    setup_logging(log_format)
    options = OperatorOptions(
        settings=settings,
        workers=workers,
        health_port=health_port,
        metrics_port=metrics_port,
        lease_name=lease_name,
        resync_seconds=resync_seconds,
        external_metrics_service=external_metrics_service,
        external_metrics_port=external_metrics_port,
        sample_seconds=sample_seconds,
        refused_seconds=refused_seconds,
    )
    try:
        run_to_the_end(run_operator(options, kubeconfig))
    except ConfigException as error:
        raise no_api_server(error) from error
    except OSError as error:
        raise click.ClickException(str(error)) from error
    except ExceptionGroup as errors:
        lost, bugs = errors.split(LeaseLostError)
        if lost is not None:
            logger.critical("another replica may lead now: this one ends, to start anew")
        if bugs is not None:
            logger.critical("ended", exc_info=bugs)
        sys.exit(1)
