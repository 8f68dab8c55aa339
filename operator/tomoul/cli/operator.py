"""`tomoul operator`: keeps a cluster as its Regions, ModelDeployments and Tenants say."""  # noqa: A005 - in a package

import logging
import re
import sys
from typing import Literal

import click
from kubernetes.aio.config import ConfigException

from tomoul.api.gatewaylimits import HIGHEST_BODY_BYTES, MIN_BODY_BYTES
from tomoul.api.routingtable import GatewayAuth
from tomoul.cli.ending import run_to_the_end
from tomoul.cli.logs import LogFormat, setup_logging
from tomoul.cli.options import kubeconfig_option, log_format_option, no_api_server, option
from tomoul.controller.lease import LeaseLostError
from tomoul.controller.run import OperatorOptions, run_operator
from tomoul.controller.scaling.demand import REFUSED_SECONDS
from tomoul.controller.scaling.sampler import SAMPLE_SECONDS
from tomoul.plan.propagate import reserved
from tomoul.plan.world import Settings

DEFAULTS = Settings()
MOST_ROUTES_PER_TABLE = 2000
"""About as many as fit into one object of the API server's."""
QUALIFIED_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
logger = logging.getLogger(__name__)


def read_regions(_context: click.Context, _parameter: click.Parameter, value: str) -> frozenset[str] | None:
    """Names between commas; none at all means every region."""
    return frozenset(_names(value)) or None


def read_names(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Names between commas, in their order."""
    return _names(value)


def read_metadata_names(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Names of labels or annotations between commas. BadParameter for one that means something on what runs."""
    names = read_names(context, parameter, value)
    for name in names:
        if not QUALIFIED_NAME.fullmatch(name):
            raise click.BadParameter(f"`{name}` is no name of a label or annotation, such as `example.com/team`")
        if reserved(name):
            raise click.BadParameter(f"`{name}` means something to Kubernetes or Tomoul on each object: leave it out")
    return names


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


@click.command()
@option(
    "--namespace",
    envvar="TOMOUL_NAMESPACE",
    default=DEFAULTS.namespace,
    help="Namespace of the operator and the gateways.",
)
@option(
    "--host-regions",
    envvar="TOMOUL_HOST_REGIONS",
    default="",
    callback=read_regions,
    help="Regions that this cluster hosts, between commas; all if none is given.",
)
@option(
    "--operator-image",
    envvar="TOMOUL_OPERATOR_IMAGE",
    default=DEFAULTS.operator_image,
    help="Image of the agent in the gateway pods and of the loader in engine pods.",
)
@option(
    "--envoy-image",
    envvar="TOMOUL_ENVOY_IMAGE",
    default=DEFAULTS.envoy_image,
    help="Image of Envoy in the gateway pods.",
)
@option(
    "--llama-cpp-image",
    envvar="TOMOUL_LLAMA_CPP_IMAGE",
    default=DEFAULTS.llama_cpp_image,
    help="Image of LlamaCpp engines whose ModelDeployment names none.",
)
@option(
    "--image-pull-policy",
    envvar="TOMOUL_IMAGE_PULL_POLICY",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    default=DEFAULTS.image_pull_policy,
    help="Pull policy of gateway and engine pods.",
)
@option(
    "--image-pull-secrets",
    envvar="TOMOUL_IMAGE_PULL_SECRETS",
    default="",
    callback=read_names,
    help="Secrets with registry credentials, between commas: for gateways in --namespace, for engines in their own.",
)
@option(
    "--scrape-namespaces",
    envvar="TOMOUL_SCRAPE_NAMESPACES",
    default="",
    callback=read_names,
    help="Namespaces whose pods may read the metrics of engines and gateways, between commas.",
)
@option(
    "--engine-egress",
    envvar="TOMOUL_ENGINE_EGRESS",
    type=click.Choice(["Restricted", "Open"]),
    default=DEFAULTS.engine_egress,
    help="Restricted: engines begin no connection but to download their weights (DNS, port 443 and the port of the "
    "source's endpoint).",
)
@option(
    "--gateway-replicas",
    envvar="TOMOUL_GATEWAY_REPLICAS",
    type=click.IntRange(min=1),
    default=DEFAULTS.gateway_replicas,
    help="Gateway pods per region.",
)
@option(
    "--gateway-service-type",
    envvar="TOMOUL_GATEWAY_SERVICE_TYPE",
    type=click.Choice(["ClusterIP", "NodePort", "LoadBalancer"]),
    default=DEFAULTS.gateway_service_type,
    help="Type of the gateways' Services.",
)
@option(
    "--gateway-service-account",
    envvar="TOMOUL_GATEWAY_SERVICE_ACCOUNT",
    default=DEFAULTS.gateway_service_account,
    help="ServiceAccount of the gateway pods.",
)
@option(
    "--propagate-labels",
    "propagated_labels",
    envvar="TOMOUL_PROPAGATE_LABELS",
    default="",
    callback=read_metadata_names,
    help="Labels that a ModelDeployment's objects and pods take from it, by name and between commas. A changed value "
    "is a new revision of the pods.",
)
@option(
    "--propagate-annotations",
    "propagated_annotations",
    envvar="TOMOUL_PROPAGATE_ANNOTATIONS",
    default="",
    callback=read_metadata_names,
    help="Annotations, likewise.",
)
@option(
    "--gateway-auth",
    envvar="TOMOUL_GATEWAY_AUTH",
    type=click.Choice([auth.value for auth in GatewayAuth]),
    default=DEFAULTS.gateway_auth.value,
    help="Whether calls need the API key of a Tenant; with None whoever reaches a gateway may call every model.",
)
@option(
    "--gateway-max-body-bytes",
    envvar="TOMOUL_GATEWAY_MAX_BODY_BYTES",
    type=click.IntRange(MIN_BODY_BYTES, HIGHEST_BODY_BYTES),
    default=DEFAULTS.gateway_max_body_bytes,
    help="Largest body of a call; what is larger is answered 413.",
)
@option(
    "--gateway-comment-seconds",
    envvar="TOMOUL_GATEWAY_COMMENT_SECONDS",
    type=click.IntRange(0, 86_400),
    default=DEFAULTS.gateway_comment_seconds,
    help="After how long an engine's silence the client of a stream gets a comment; 0 for never.",
)
@option(
    "--routes-per-table",
    envvar="TOMOUL_ROUTES_PER_TABLE",
    type=click.IntRange(0, MOST_ROUTES_PER_TABLE),
    default=DEFAULTS.routes_per_table,
    help="Routes of a region (models and adapters) that are in one RoutingTable at most; more are in 16 shards. "
    "0: however many, all in one.",
)
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
    namespace: str,
    host_regions: frozenset[str] | None,
    operator_image: str,
    envoy_image: str,
    llama_cpp_image: str,
    image_pull_policy: str,
    image_pull_secrets: tuple[str, ...],
    scrape_namespaces: tuple[str, ...],
    engine_egress: Literal["Restricted", "Open"],
    gateway_replicas: int,
    gateway_service_type: str,
    gateway_service_account: str,
    propagated_labels: tuple[str, ...],
    propagated_annotations: tuple[str, ...],
    gateway_auth: str,
    gateway_max_body_bytes: int,
    gateway_comment_seconds: int,
    routes_per_table: int,
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
    settings = Settings(
        namespace=namespace,
        hosted_regions=host_regions,
        operator_image=operator_image,
        envoy_image=envoy_image,
        llama_cpp_image=llama_cpp_image,
        image_pull_policy=image_pull_policy,
        image_pull_secrets=image_pull_secrets,
        scrape_namespaces=scrape_namespaces,
        engine_egress=engine_egress,
        gateway_replicas=gateway_replicas,
        gateway_service_type=gateway_service_type,
        gateway_service_account=gateway_service_account,
        propagated_labels=propagated_labels,
        propagated_annotations=propagated_annotations,
        gateway_auth=GatewayAuth(gateway_auth),
        gateway_max_body_bytes=gateway_max_body_bytes,
        gateway_comment_seconds=gateway_comment_seconds,
        routes_per_table=routes_per_table or None,
    )
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
