"""What `tomoul plan` says of a change, and what the operator then makes of it on a real control plane."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from click.testing import CliRunner

from tests.controlplane.api import eventually
from tests.controlplane.harness import ControlPlane
from tests.controlplane.kubelet import running
from tests.integration.cluster import REGIONS, Cluster, Object, example, model, running_cluster
from tests.integration.operators import COLLECTIONS, OURS, path
from tomoul.cli.main import main
from tomoul.plan.diff import field_changes

Identity = tuple[str, str, str]
Fields = frozenset[tuple[str, str, str]]
MADE = [kind for kind in COLLECTIONS if kind not in ("Region", "ModelDeployment", "Tenant")]
WRITTEN = "regions.tomoul.ai,modeldeployments.tomoul.ai,tenants.tomoul.ai"


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(control_plane, tmp_path_factory.mktemp("operator"), running) as started:
        yield started


def made(cluster: Cluster) -> dict[Identity, Object]:
    """All that the operator has made, as a plan writes it; routes one by one, as a plan tells of them."""
    found: dict[Identity, Object] = {}
    for kind in MADE:
        for item in cluster.api.get(COLLECTIONS[kind], labelSelector=OURS)["items"]:
            metadata = {"labels": item["metadata"]["labels"]}
            content = {name: item[name] for name in ("spec", "rules", "roleRef", "subjects") if name in item}
            if kind == "RoutingTable":
                for route in content["spec"].pop("models", ()):
                    found["route", item["metadata"]["name"], route["id"]] = route
            found[kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]] = {
                "metadata": metadata,
                **content,
            }
    return found


def done(before: Mapping[Identity, Object], after: Mapping[Identity, Object]) -> dict[Identity, tuple[str, Fields]]:
    """What has been created, changed and removed, by field."""
    changes: dict[Identity, tuple[str, Fields]] = {}
    for key in sorted({*before, *after}):
        if key not in before or key not in after:
            changes[key] = ("create" if key not in before else "remove", frozenset())
        elif fields := _fields(each._asdict() for each in field_changes(before[key], after[key])):
            changes[key] = ("change", fields)
    return changes


def planned(stdin: str, new: str, folder: Any) -> tuple[int, dict[Identity, tuple[str, Fields]]]:
    file = folder / "new.json"
    file.write_text(new)
    hosted = [word for region in REGIONS for word in ("--hosted", region)]
    words = ["plan", str(file), "--against", "-", "--auth", "None", "--output", "json", *hosted]
    result = CliRunner().invoke(main, words, input=stdin, catch_exceptions=False)
    assert result.exit_code in (0, 2), result.output
    answer = json.loads(result.stdout)
    assert (answer["errors"], answer["warnings"]) == ([], [])
    found = {
        (each["kind"], each["namespace"], each["name"]): (each["action"], _fields(each["fields"]))
        for objects in (answer["objects"], *(region["objects"] for region in answer["regions"]))
        for each in objects
    }
    found |= {
        ("route", region["region"], each["model"]): (each["action"], _fields(each["fields"]))
        for region in answer["regions"]
        for each in region["routes"]
    }
    return result.exit_code, found


def _fields(changes: Any) -> Fields:
    return frozenset(
        (each["path"], *(json.dumps(each[side], sort_keys=True) for side in ("old", "new"))) for each in changes
    )


def test_the_operator_does_what_was_planned_against_what_kubectl_printed_of_the_cluster(
    cluster: Cluster, control_plane: ControlPlane, namespace: str, tmp_path: Any
) -> None:
    cluster.regions_ready()
    chat = example("tiny-chat") | {"metadata": {"name": "chat", "namespace": namespace}}
    chat["spec"]["model"]["id"] = "acme/chat"
    chat["spec"]["resources"] = {"cpu": "100m", "memory": "256Mi"}
    other = model("other", namespace)
    tenant = {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": "team", "namespace": namespace},
        "spec": {"apiKeys": {"secretName": "team-keys"}, "models": ["acme/chat"]},
    }

    def changed(item: Object, **spec: Any) -> Object:
        return item | {"spec": item["spec"] | spec}

    only_eu = [{"name": "eu-west", "replicas": 2, "noStoreReplicas": 1}]
    wants: list[list[Object]] = [
        [chat],
        [changed(chat, regions=only_eu, routing={"fallback": ["eu-west"]}), other, tenant],
        [changed(chat, regions=only_eu, routing={}, capabilities={"structuredOutput": True}), tenant],
        [changed(chat, regions=only_eu, routing={}, engine={"type": "LlamaCpp", "args": ["--threads", "2"]})],
        [
            changed(
                chat,
                cache={"mode": "Disabled", "noStore": "NotStored"},
                regions=[{"name": "us-east", "replicas": 0}],
                routing={},
            )
        ],
        [],
    ]
    had: list[Object] = []
    for step, wanted in enumerate(wants):
        stdin = control_plane.kubectl("get", WRITTEN, "-A", "-o", "yaml")
        regions = [cluster.get("Region", name) for name in REGIONS]
        bare = [
            {name: each[name] for name in ("apiVersion", "kind", "spec")}
            | {"metadata": {"name": each["metadata"]["name"]}}
            for each in regions
        ]
        new = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*bare, *wanted]})
        status, said = planned(stdin, new, tmp_path)
        assert status == 2, f"step {step}"
        before = made(cluster)
        for item in wanted:
            cluster.apply(item)
        kept = {item["metadata"]["name"] for item in wanted}
        for kind, name in ((item["kind"], item["metadata"]["name"]) for item in had):
            if name not in kept:
                cluster.api.remove(path(kind, name, namespace))
        had = wanted

        def as_planned(before: dict[Identity, Object] = before, said: dict[Identity, Any] = said) -> bool:
            cluster.acknowledge_all()
            found = done(before, made(cluster))
            assert found.items() - said.items() == set()
            assert said.items() - found.items() == set()
            return True

        eventually(as_planned)
        for name in (item["metadata"]["name"] for item in wanted if item["kind"] == "ModelDeployment" and step != 4):
            cluster.ready(name, namespace)
        assert as_planned()
    assert planned(control_plane.kubectl("get", WRITTEN, "-A", "-o", "yaml"), new, tmp_path) == (0, {})
