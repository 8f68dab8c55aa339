from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.api.cases import Case, cases, collection
from tests.controlplane.harness import ControlPlane, KubectlError
from tomoul.api.cache import CacheMode, NoStore
from tomoul.api.conditions import Reason
from tomoul.api.crd import KINDS, crd, crd_files
from tomoul.api.manifest import parse_resource
from tomoul.api.meta import Condition
from tomoul.api.modelstatus import ModelDeploymentStatus, PoolStatus, RegionModelStatus
from tomoul.api.region import AcceleratorCapacity, GatewayStatus, RegionStatus
from tomoul.api.routingtable import (
    GatewayAcknowledgement,
    ModelRoute,
    RemoteGateway,
    RouteCache,
    RoutePool,
    RoutingTable,
    RoutingTableSpec,
    RoutingTableStatus,
)
from tomoul.api.tenant import TenantStatus
from tomoul.cli.crds import command

CRDS = Path(__file__).parent.parent.parent / "crds"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
READY = Condition(
    type="Ready", status="True", reason="Ready", message="serves", observed_generation=1, last_transition_time=NOW
)


def every(kind: str) -> dict[str, Any]:
    """The case of a kind that sets every field."""
    (case,) = [each.values[0] for each in cases("accepted") if each.id == f"{kind}: every field set"]
    assert isinstance(case, Case)
    return case.object


def test_the_crds_are_those_of_the_models() -> None:
    assert {file.name: file.read_text() for file in CRDS.iterdir()} == crd_files(), "run `make generate`"


def test_each_crd_is_far_below_the_size_at_which_client_side_apply_breaks() -> None:
    # Client-side apply keeps the whole object in an annotation, and Kubernetes takes 256 KiB of those.
    for name, text in crd_files().items():
        assert len(text.encode()) < 256 * 1024 // 3, name


def test_the_command_writes_the_files_once_and_tells_which_are_stale(tmp_path: Path) -> None:
    runner = CliRunner()
    output = ["--output", str(tmp_path / "crds")]
    assert runner.invoke(command, [*output, "--check"]).exit_code == 1
    assert runner.invoke(command, output).output.count("wrote") == len(KINDS)
    assert runner.invoke(command, output).output == ""
    assert runner.invoke(command, [*output, "--check"]).exit_code == 0
    (tmp_path / "crds" / "tomoul.ai_regions.yaml").write_text("old")
    stale = runner.invoke(command, [*output, "--check"])
    assert stale.exit_code == 1
    assert "tomoul.ai_regions.yaml is stale" in stale.output


def test_everything_that_a_cel_rule_touches_is_bounded() -> None:
    def unbounded(node: dict[str, Any], path: str) -> list[str]:
        found = []
        limits = {"string": "maxLength", "array": "maxItems"}
        limit = "maxProperties" if "additionalProperties" in node else limits.get(node["type"])
        if limit and limit not in node and "enum" not in node:
            found.append(path)
        inner = {**node.get("properties", {}), **{key: node[key] for key in ("items",) if key in node}}
        if "additionalProperties" in node:
            inner["*"] = node["additionalProperties"]
        return found + [each for name, child in inner.items() for each in unbounded(child, f"{path}.{name}")]

    for kind in KINDS:
        schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert unbounded(schema["properties"]["spec"], kind.plural) == []


def test_every_field_has_a_description_that_says_nothing_twice() -> None:
    def once(text: str) -> bool:
        sentences = text.split(". ")
        return text != "" and len(set(sentences)) == len(sentences)

    def silent(node: dict[str, Any], path: str) -> list[str]:
        fields = {**node.get("properties", {}), **node.get("items", {}).get("properties", {})}
        here = [f"{path}.{name}" for name, field in fields.items() if not once(field.get("description", ""))]
        return here + [each for name, field in fields.items() for each in silent(field, f"{path}.{name}")]

    for kind in KINDS:
        schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        assert silent(schema["spec"], "spec") + silent(schema["status"], "status") == []


def test_every_default_is_told_where_kubectl_explain_shows_it() -> None:
    def silent(node: dict[str, Any], path: str) -> list[str]:
        found = [path] if isinstance(node.get("default"), str | int) and "Default: " not in node["description"] else []
        inner = {**node.get("properties", {}), **{key: node[key] for key in ("items",) if key in node}}
        return found + [each for name, child in inner.items() for each in silent(child, f"{path}.{name}")]

    for kind in KINDS:
        schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        assert silent(schema["spec"], "spec") == []


STATUSES = {
    "modeldeployment": ModelDeploymentStatus(
        observed_generation=1,
        conditions=(READY,),
        regions=(
            RegionModelStatus(
                name="eu-west",
                conditions=(READY,),
                pools=(PoolStatus(name="default", deployment="phi-4-eu-west-0a1b2c3d", replicas=2, ready=2),),
                waiting_for="nothing",
                programmed_route="0a1b2c3d",
            ),
        ),
        ready_regions="1/2",
        reason="Ready",
    ),
    "region": RegionStatus(
        observed_generation=1,
        conditions=(READY,),
        accelerators=(AcceleratorCapacity(name="nvidia-h100", allocatable=8, requested=2),),
        models_desired=2,
        models_ready=1,
        models="1/2",
        gateways=(GatewayStatus(name="gateway-0", ready=True, accepted_generation=3),),
        routing_generation=3,
    ),
    "tenant": TenantStatus(observed_generation=1, conditions=(READY,)),
}


@pytest.mark.parametrize("kind", STATUSES)
def test_a_status_that_the_models_write_is_stored_as_it_is(
    kind: str, control_plane: ControlPlane, namespace: str
) -> None:
    obj = every(kind)
    if obj["metadata"].get("namespace"):
        obj["metadata"]["namespace"] = namespace
    path = f"{collection(obj)}/{obj['metadata']['name']}"
    api = control_plane.api
    api.create(collection(obj), obj, fieldValidation="Strict")
    try:
        status = STATUSES[kind].model_dump(mode="json", by_alias=True, exclude_none=True)
        patch = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "status": status}
        api.apply(f"{path}/status", patch, manager="tomoul-operator-status", fieldValidation="Strict")
        stored = api.get(path)
        assert stored["status"] == status
        assert parse_resource(stored).status == STATUSES[kind]
        assert stored["metadata"]["generation"] == 1
    finally:
        api.delete(path)


def test_kubectl_that_applies_manifests_again_finds_them_unchanged_whatever_they_leave_out(
    control_plane: ControlPlane, namespace: str
) -> None:
    # As `kubectl apply` Argo CD compares lists as a whole: with a default added in one it is out of sync for ever.
    objects = []
    for index, case in enumerate(each.values[0] for each in cases("accepted")):
        assert isinstance(case, Case)
        inside = {"namespace": namespace} if "namespace" in case.object["metadata"] else {}
        objects.append({**case.object, "metadata": {"name": f"case-{index}", **inside}})
    text = yaml.safe_dump_all(objects)
    try:
        control_plane.kubectl("apply", "-f", "-", input=text)
        again = control_plane.kubectl("apply", "-f", "-", input=text).splitlines()
        assert [line for line in again if not line.endswith(" unchanged")] == []
        assert len(again) == len(objects)
    finally:
        control_plane.kubectl("delete", "-f", "-", input=text)


@pytest.mark.parametrize("kind", STATUSES)
def test_applying_the_same_object_twice_changes_nothing(kind: str, control_plane: ControlPlane, namespace: str) -> None:
    obj = every(kind)
    if obj["metadata"].get("namespace"):
        obj["metadata"]["namespace"] = namespace
    path = f"{collection(obj)}/{obj['metadata']['name']}"
    first = control_plane.api.apply(path, obj, fieldValidation="Strict")
    try:
        second = control_plane.api.apply(path, obj, fieldValidation="Strict")
        assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    finally:
        control_plane.api.delete(path)


def test_a_models_id_cannot_be_changed(control_plane: ControlPlane, namespace: str) -> None:
    obj = every("modeldeployment")
    obj["metadata"]["namespace"] = namespace
    text = yaml.safe_dump(obj)

    def apply(text: str) -> None:
        control_plane.kubectl("apply", "--server-side", "-f", "-", input=text)

    apply(text)
    with pytest.raises(KubectlError, match=r"spec\.model\.id: Invalid value: .*another id is another model"):
        apply(text.replace("id: microsoft/phi-4", "id: phi-5"))
    apply(text.replace("replicas: 2", "replicas: 3"))


def test_each_gateway_writes_its_own_entry_of_a_routing_tables_status(control_plane: ControlPlane) -> None:
    route = ModelRoute(
        id="microsoft/phi-4",
        aliases=("phi-4",),
        regions=("eu-west", "us-east"),
        fallback=("us-east",),
        cache=RouteCache(mode=CacheMode.TENANT, no_store=NoStore.ISOLATED, salt_field="cache_salt"),
        remove_fields=("cache_salt",),
        pools=(RoutePool(name="default", namespace="models", service="phi-4-eu-west-0a1b2c3d", port=8000),),
    )
    spec = RoutingTableSpec(
        region="eu-west",
        models=(route,),
        known_regions=("eu-west", "us-east"),
        remote_gateways=(RemoteGateway(region="us-east", url="https://us-east.example.com"),),
    )
    head = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "RoutingTable"}
    body = {**head, "metadata": {"name": "crd-test"}, "spec": spec.model_dump(mode="json", by_alias=True)}
    path = "/apis/tomoul.ai/v1alpha1/routingtables/crd-test"
    api = control_plane.api
    api.apply(path, _without_none(body), fieldValidation="Strict")
    try:
        for name in ("gateway-0", "gateway-1"):
            entry = GatewayAcknowledgement(name=name, accepted_generation=1, last_update_time=NOW)
            status = RoutingTableStatus(gateways=(entry,)).model_dump(mode="json", by_alias=True)
            api.apply(f"{path}/status", {**head, "status": status}, manager=f"tomoul-agent-{name}")
        table = RoutingTable.model_validate(api.get(path))
        assert table.spec == spec
        assert [(gateway.name, gateway.accepted_generation) for gateway in table.status.gateways] == [
            ("gateway-0", 1),
            ("gateway-1", 1),
        ]
    finally:
        api.delete(path)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value


def test_kubectl_get_shows_each_kind_with_its_longest_name_in_at_most_120_columns(
    control_plane: ControlPlane, namespace: str
) -> None:
    reason = max(Reason, key=len)
    created = []
    for kind, length in (("modeldeployment", 63), ("tenant", 63), ("region", 32)):
        obj = every(kind)
        obj["metadata"]["name"] = "n" * length
        if kind == "region":
            obj["spec"]["jurisdiction"] = "European-Economic-Area"
        else:
            obj["metadata"]["namespace"] = namespace
        path = f"{collection(obj)}/{obj['metadata']['name']}"
        control_plane.api.create(collection(obj), obj)
        created.append(path)
        status = STATUSES[kind].model_dump(mode="json", by_alias=True, exclude_none=True)
        if kind == "modeldeployment":
            status |= {"readyRegions": "16/16", "reason": reason}
        if kind == "region":
            status["conditions"][0]["reason"] = Reason.NODE_MEMORY_PRESSURE
        control_plane.api.patch(f"{path}/status", {"status": status})
    table = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "RoutingTable", "metadata": {"name": "n" * 32}}
    created.append(f"/apis/tomoul.ai/v1alpha1/routingtables/{'n' * 32}")
    control_plane.api.apply(created[-1], {**table, "spec": {"region": "n" * 32}})
    try:
        for short in ("tmd", "ttenant", "tregion", "trt"):
            printed = control_plane.kubectl("get", short, "-n", namespace)
            assert "n" * 32 in printed
            for line in printed.splitlines():
                # An age may grow to `10d` or `5y301d`.
                assert len(line) + 4 <= 120, printed
        (row,) = control_plane.kubectl("get", "tmd", "-n", namespace, "--no-headers").splitlines()
        assert row.split()[1:4] == ["16/16", "True", reason]
        wide, _ = control_plane.kubectl("get", "tmd", "-n", namespace, "-o", "wide").splitlines()
        assert {"MODEL", "ENGINE"} <= set(wide.split())
        names = control_plane.kubectl("get", "tomoul", "-n", namespace, "-o", "name")
        assert f"modeldeployment.tomoul.ai/{'n' * 63}" in names
    finally:
        for path in created:
            control_plane.api.delete(path)
