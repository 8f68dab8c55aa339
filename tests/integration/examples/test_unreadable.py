"""Resources that this version cannot read, as a newer one may have written them."""

from typing import Any

import yaml

from tests.controlplane.api import eventually
from tests.controlplane.harness import REPOSITORY
from tests.integration.cluster import REGIONS, Cluster, Object, model
from tests.integration.operators import children, condition, path


def test_an_invalid_object_gets_a_condition_keeps_what_it_had_and_stops_nobody(
    examples: Cluster, namespace: str
) -> None:
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeldeployments.tomoul.ai"
    strict = yaml.safe_load((REPOSITORY / "crds" / "tomoul.ai_modeldeployments.yaml").read_text())
    examples.apply(model("invalid", namespace))
    eventually(lambda: f"{namespace}/invalid" in examples.routed("eu-west"))
    try:
        examples.api.apply(crd, without_rules(strict))
        invalid = model("invalid", namespace, source={"file": {"path": "relative"}})
        eventually(lambda: examples.apply(invalid))
        item = eventually(lambda: told(examples, "invalid", namespace))
        assert "spec.source.file.path" in condition(item, "Accepted")["message"]
        assert f"{namespace}/invalid" in examples.routed("eu-west")
        assert len(examples.of("invalid", namespace)) == 10
        examples.apply(model("valid", namespace))
        eventually(lambda: len(examples.of("valid", namespace)) == 10)
        examples.apply(model("invalid", namespace))
        eventually(lambda: condition(examples.model("invalid", namespace), "Accepted")["status"] == "True")
    finally:
        examples.api.apply(crd, strict)


def test_a_restart_changes_nothing_of_a_region_and_a_model_that_only_a_newer_version_can_read(
    examples: Cluster, namespace: str
) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    strict = {
        plural: yaml.safe_load((REPOSITORY / "crds" / f"tomoul.ai_{plural}.yaml").read_text())
        for plural in ("regions", "modeldeployments")
    }
    for name in ("frozen", "half"):
        examples.apply(model(name, namespace, source={"file": {"path": "/models/a.gguf"}}))
        eventually(lambda name=name: len(examples.of(name, namespace)) == 10)
    ids = {f"{namespace}/frozen", f"{namespace}/half"}
    eventually(lambda: all(ids <= examples.routed(region) for region in REGIONS))
    region = examples.get("Region", "us-east")
    placement = region["spec"].get("placement", {})
    newer = {**placement, "tolerations": [{"key": "gpu", "operator": "Exists", "value": "newer"}]}
    try:
        for plural, crd in strict.items():
            examples.api.apply(f"{crds}/{plural}.tomoul.ai", without_rules(crd))
        eventually(lambda: examples.apply(model("frozen", namespace, source={"file": {"path": "relative"}})))
        eventually(lambda: examples.api.patch(path("Region", "us-east"), {"spec": {"placement": newer}}))
        assert len(eventually(lambda: told(examples, "frozen", namespace))["status"]["regions"]) == 2
        eventually(lambda: condition(examples.get("Region", "us-east"), "Accepted")["reason"] == "InvalidSpec")
        assert examples.leader.stop() == 0
        before = seen(examples, namespace)
        examples.leader = examples.start()
        eventually(examples.leader.leads, 60)
        examples.apply(model("later", namespace))
        eventually(lambda: f"{namespace}/later" in examples.routed("eu-west"))
        eventually(lambda: len(examples.of("later", namespace)) == 5)
        for name in ("half", "later"):
            reason = eventually(lambda name=name: condition(examples.model(name, namespace), "Accepted", "us-east"))
            assert reason["reason"] == "UnreadableRegion"
        after = seen(examples, namespace)
        assert {key: after.get(key) for key in before} == before
        examples.api.patch(path("Region", "us-east"), {"spec": {"placement": {"tolerations": None} | placement}})
        examples.apply(model("frozen", namespace))
        eventually(lambda: len(examples.of("later", namespace)) == 10)
        eventually(lambda: ids | {f"{namespace}/later"} <= examples.routed("us-east"))
        examples.ready("frozen", namespace)
    finally:
        examples.api.patch(path("Region", "us-east"), {"spec": {"placement": {"tolerations": None} | placement}})
        for plural, crd in strict.items():
            examples.api.apply(f"{crds}/{plural}.tomoul.ai", crd)


def seen(cluster: Cluster, namespace: str) -> dict[tuple[str, ...], object]:
    """What the operator has made in a namespace, in the versions in which their specs are, and all routes to it."""
    found: dict[tuple[str, ...], object] = {}
    for item in children(cluster.api, "app.kubernetes.io/component=engine"):
        metadata = item["metadata"]
        if metadata["namespace"] == namespace:
            found[item["kind"], metadata["name"]] = (metadata["uid"], metadata.get("generation"))
    for region in REGIONS:
        spec = cluster.get("RoutingTable", region)["spec"]
        found["regions", region] = (spec["knownRegions"], spec["remoteGateways"])
        for route in spec["models"]:
            if route["id"].startswith(f"{namespace}/"):
                found["route", region, route["id"]] = route
    return found


def told(cluster: Cluster, name: str, namespace: str) -> Object:
    item = cluster.model(name, namespace)
    assert condition(item, "Accepted")["reason"] == "InvalidSpec"
    return item


def without_rules(schema: Any) -> Any:
    """A CRD that lets through what its rules and patterns refuse, as an older one might."""
    if isinstance(schema, dict):
        return {
            name: without_rules(value)
            for name, value in schema.items()
            if name not in ("x-kubernetes-validations", "pattern")
        }
    return [without_rules(value) for value in schema] if isinstance(schema, list) else schema
