"""Settings of the operator as options: one of its flags for each field."""

import re
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any

import click

from tomoul.api.gatewaylimits import HIGHEST_BODY_BYTES, MIN_BODY_BYTES
from tomoul.api.routingtable import GatewayAuth
from tomoul.cli.options import option
from tomoul.plan.gateway_overlay import GatewayOverlay, read_overlay
from tomoul.plan.listening import listen_address
from tomoul.plan.propagate import reserved
from tomoul.plan.settings import Settings

DEFAULTS = Settings()
MOST_ROUTES_PER_TABLE = 2000
"""About as many as fit into one object of the API server's."""
QUALIFIED_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


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


def read_gateway_overlay(_context: click.Context, _parameter: click.Parameter, value: str) -> GatewayOverlay:
    """The overlay in JSON. BadParameter for what is none, and for labels that mean something on what runs."""
    try:
        overlay = read_overlay(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    for name in (*overlay.labels, *overlay.pods.labels):
        if reserved(name):
            raise click.BadParameter(f"label `{name}` means something to Kubernetes or Tomoul on each object")
    return overlay


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


OPTIONS = (
    option(
        "--namespace",
        envvar="TOMOUL_NAMESPACE",
        default=DEFAULTS.namespace,
        help="Namespace of the operator and the gateways.",
    ),
    option(
        "--host-regions",
        "hosted_regions",
        envvar="TOMOUL_HOST_REGIONS",
        default="",
        callback=read_regions,
        help="Regions that this cluster hosts, between commas; all if none is given.",
    ),
    option(
        "--operator-image",
        envvar="TOMOUL_OPERATOR_IMAGE",
        default=DEFAULTS.operator_image,
        help="Image of the agent in the gateway pods and of the loader in engine pods.",
    ),
    option(
        "--envoy-image",
        envvar="TOMOUL_ENVOY_IMAGE",
        default=DEFAULTS.envoy_image,
        help="Image of Envoy in the gateway pods.",
    ),
    option(
        "--llama-cpp-image",
        envvar="TOMOUL_LLAMA_CPP_IMAGE",
        default=DEFAULTS.llama_cpp_image,
        help="Image of LlamaCpp engines whose ModelDeployment names none.",
    ),
    option(
        "--engine-registry",
        envvar="TOMOUL_ENGINE_REGISTRY",
        default=DEFAULTS.engine_registry,
        help="Registry, or path in one, where vLLM's and SGLang's own images are mirrored; Docker Hub if not given.",
    ),
    option(
        "--image-pull-policy",
        envvar="TOMOUL_IMAGE_PULL_POLICY",
        type=click.Choice(["Always", "IfNotPresent", "Never"]),
        default=DEFAULTS.image_pull_policy,
        help="Pull policy of gateway and engine pods.",
    ),
    option(
        "--image-pull-secrets",
        envvar="TOMOUL_IMAGE_PULL_SECRETS",
        default="",
        callback=read_names,
        help="Secrets with registry credentials, between commas: for gateways in --namespace, for engines in their "
        "own.",
    ),
    option(
        "--scrape-namespaces",
        envvar="TOMOUL_SCRAPE_NAMESPACES",
        default="",
        callback=read_names,
        help="Namespaces whose pods may read the metrics of engines and gateways, between commas.",
    ),
    option(
        "--engine-egress",
        envvar="TOMOUL_ENGINE_EGRESS",
        type=click.Choice(["Restricted", "Open"]),
        default=DEFAULTS.engine_egress,
        help="Restricted: engines begin no connection but to download their weights (DNS, port 443 and the port of the "
        "source's endpoint).",
    ),
    option(
        "--engine-priority-class",
        envvar="TOMOUL_ENGINE_PRIORITY_CLASS",
        default=DEFAULTS.engine_priority_class,
        help="PriorityClass of engines' pods; the cluster's default if none is given.",
    ),
    option(
        "--gateway-replicas",
        envvar="TOMOUL_GATEWAY_REPLICAS",
        type=click.IntRange(min=1),
        default=DEFAULTS.gateway_replicas,
        help="Gateway pods per region.",
    ),
    option(
        "--gateway-service-type",
        envvar="TOMOUL_GATEWAY_SERVICE_TYPE",
        type=click.Choice(["ClusterIP", "NodePort", "LoadBalancer"]),
        default=DEFAULTS.gateway_service_type,
        help="Type of the gateways' Services.",
    ),
    option(
        "--gateway-service-account",
        envvar="TOMOUL_GATEWAY_SERVICE_ACCOUNT",
        default=DEFAULTS.gateway_service_account,
        help="ServiceAccount of the gateway pods.",
    ),
    option(
        "--gateway-overlay",
        envvar="TOMOUL_GATEWAY_OVERLAY",
        default="{}",
        callback=read_gateway_overlay,
        help="What gateways have besides what their Regions say, in JSON: `labels` of all their objects, `pods` "
        "(labels, annotations, nodeSelector, tolerations, affinity, topologySpreadConstraints, priorityClassName), "
        "`service` (annotations, loadBalancerClass, loadBalancerSourceRanges, externalTrafficPolicy, ipFamilyPolicy) "
        "and `resources` (envoy, agent).",
    ),
    option(
        "--pod-ip",
        "listen_address",
        envvar=["TOMOUL_POD_IP", "POD_IP"],
        default="",
        callback=lambda _context, _parameter, value: listen_address(value),
        help="Address of the operator's pod: where it is one of IPv6, gateways and engines listen on IPv6.",
    ),
    option(
        "--propagate-labels",
        "propagated_labels",
        envvar="TOMOUL_PROPAGATE_LABELS",
        default="",
        callback=read_metadata_names,
        help="Labels that a ModelDeployment's objects and pods take from it, by name and between commas. A changed "
        "value is a new revision of the pods.",
    ),
    option(
        "--propagate-annotations",
        "propagated_annotations",
        envvar="TOMOUL_PROPAGATE_ANNOTATIONS",
        default="",
        callback=read_metadata_names,
        help="Annotations, likewise.",
    ),
    option(
        "--gateway-auth",
        envvar="TOMOUL_GATEWAY_AUTH",
        type=click.Choice([auth.value for auth in GatewayAuth]),
        callback=lambda _context, _parameter, value: GatewayAuth(value),
        default=DEFAULTS.gateway_auth.value,
        help="Whether calls need the API key of a Tenant; with None whoever reaches a gateway may call every model.",
    ),
    option(
        "--gateway-max-body-bytes",
        envvar="TOMOUL_GATEWAY_MAX_BODY_BYTES",
        type=click.IntRange(MIN_BODY_BYTES, HIGHEST_BODY_BYTES),
        default=DEFAULTS.gateway_max_body_bytes,
        help="Largest body of a call; what is larger is answered 413.",
    ),
    option(
        "--gateway-comment-seconds",
        envvar="TOMOUL_GATEWAY_COMMENT_SECONDS",
        type=click.IntRange(0, 86_400),
        default=DEFAULTS.gateway_comment_seconds,
        help="After how long an engine's silence the client of a stream gets a comment; 0 for never.",
    ),
    option(
        "--routes-per-table",
        envvar="TOMOUL_ROUTES_PER_TABLE",
        type=click.IntRange(0, MOST_ROUTES_PER_TABLE),
        callback=lambda _context, _parameter, value: value or None,
        default=DEFAULTS.routes_per_table,
        help="Routes of a region (models and adapters) that are in one RoutingTable at most; more are in 16 shards. "
        "0: however many, all in one.",
    ),
)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with an option for each setting in the place of its parameter `settings`."""

    @wraps(command)
    def with_settings(**given: Any) -> None:
        settings = Settings(**{field.name: given.pop(field.name) for field in fields(Settings)})
        command(settings=settings, **given)

    for add in reversed(OPTIONS):
        with_settings = add(with_settings)
    return with_settings
