"""Labels, owners and metadata of the objects that a plan makes."""

from collections.abc import Mapping
from typing import Any

from tomoul.api.meta import (
    COMPONENT_ENGINE,
    COMPONENT_GATEWAY,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_MODEL_DEPLOYMENT,
    LABEL_NAME,
    LABEL_POOL,
    LABEL_REGION,
    MANAGED_BY,
    ObjectMeta,
)
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region


def engine_selector(model_deployment: str, region: str, pool: str | None = None) -> dict[str, str]:
    """Labels by which engine pods are selected: those of one pool, or of all pools of the region."""
    return {LABEL_COMPONENT: COMPONENT_ENGINE} | replica_selector(model_deployment, region, pool)


def replica_selector(model_deployment: str, region: str, pool: str | None = None) -> dict[str, str]:
    """Labels of all pods that replicas are made of, workers included: of one pool, or of all pools of the region."""
    selector = {LABEL_MODEL_DEPLOYMENT: model_deployment, LABEL_REGION: region}
    return selector if pool is None else selector | {LABEL_POOL: pool}


def engine_labels(model_deployment: str, region: str, pool: str | None = None) -> dict[str, str]:
    """Labels of engine pods and of everything made for them; the EndpointSlices copy them from the Service."""
    return engine_selector(model_deployment, region, pool) | {LABEL_NAME: "tomoul-engine", LABEL_MANAGED_BY: MANAGED_BY}


def gateway_selector(region: str) -> dict[str, str]:
    """Labels by which gateway pods are selected."""
    return {LABEL_COMPONENT: COMPONENT_GATEWAY, LABEL_REGION: region}


def gateway_labels(region: str) -> dict[str, str]:
    """Labels of gateway pods and of everything made for them."""
    return gateway_selector(region) | {LABEL_NAME: "tomoul-gateway", LABEL_MANAGED_BY: MANAGED_BY}


def object_meta(
    name: str, labels: Mapping[str, str], owner: ModelDeployment | Region, namespace: str = ""
) -> dict[str, Any]:
    """Metadata of an object that is deleted with `owner`; offline plans know no uid and leave the reference out."""
    meta: dict[str, Any] = {"name": name, "labels": dict(labels)}
    if namespace:
        meta["namespace"] = namespace
    if owner.metadata.uid:
        meta["ownerReferences"] = [owner_reference(owner.api_version, owner.kind, owner.metadata)]
    return meta


def owner_reference(api_version: str, kind: str, owner: ObjectMeta) -> dict[str, Any]:
    """Reference by which Kubernetes deletes an object together with its owner."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
