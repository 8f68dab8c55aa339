"""What is written into a status, with a writer that only remembers."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from tomoul.api.manifest import parse_resource
from tomoul.api.meta import Condition
from tomoul.api.modeldeployment import ModelDeployment, RegionModelStatus
from tomoul.controller.context import Context
from tomoul.controller.facts import declared
from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.controller.status import refused_model, write_invalid
from tomoul.controller.writer import Writer
from tomoul.kube.errors import NotFound
from tomoul.kube.resources import MODEL_DEPLOYMENTS
from tomoul.plan.rollup import roll_up
from tomoul.plan.world import Key, Manifest, Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Key("models", "chat")


class Recorder:
    """A writer."""

    def __init__(self) -> None:
        self.written: list[Manifest] = []

    async def apply_status(self, manifest: Manifest) -> None:
        self.written.append(manifest)


def context(writer: Recorder) -> Context:
    return Context(writer=writer, observed=None, client=None, triggers=None, now=lambda: NOW)  # type: ignore[arg-type]


def unreadable(status: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "chat", "namespace": "models", "uid": "u", "generation": 4},
        "spec": {"engine": {"type": "Steam"}},
        "status": status,
    }


async def test_what_cannot_be_read_keeps_its_regions_and_figures_and_is_told_once() -> None:
    scheduled = {"type": "Scheduled", "status": "True", "reason": "AllPodsScheduled", "observedGeneration": 3}
    rows = [{"name": "eu", "conditions": [scheduled], "newer": 1}]
    before = {"conditions": [scheduled], "regions": rows, "readyRegions": "1/1", "reason": "", "observedGeneration": 3}
    writer = Recorder()
    await write_invalid(context(writer), MODEL_DEPLOYMENTS, KEY, declared(unreadable(before), ModelDeployment))
    (written,) = writer.written
    status = written["status"]
    assert {name: status[name] for name in ("regions", "readyRegions", "reason")} == {
        "regions": rows,
        "readyRegions": "1/1",
        "reason": "InvalidSpec",
    }
    found = {entry["type"]: (entry["status"], entry["reason"]) for entry in status["conditions"]}
    assert found == {
        "Accepted": ("False", "InvalidSpec"),
        "Ready": ("False", "InvalidSpec"),
        "Scheduled": ("True", "AllPodsScheduled"),
    }
    await write_invalid(context(writer), MODEL_DEPLOYMENTS, KEY, declared(unreadable(status), ModelDeployment))
    assert len(writer.written) == 1


def test_what_the_api_server_refuses_is_told_in_its_region_with_a_reason_of_its_own() -> None:
    def row(name: str, ready: str) -> RegionModelStatus:
        kinds = ("Accepted", "Scheduled", "ModelReady", "WorkloadReady", "RoutesProgrammed", "CachePolicyEnforced")
        conditions = [Condition(type=kind, status="True", reason="Ready") for kind in kinds]
        return RegionModelStatus(
            name=name, conditions=(*conditions, Condition(type="Ready", status=ready, reason="Ready"))
        )

    model = parse_resource(chat("eu", "us"))
    assert isinstance(model, ModelDeployment)
    status = refused_model(model, roll_up(model, [row("eu", "True"), row("us", "True")]), {"us": "exceeded quota"})
    assert (status.reason, status.ready_regions) == ("ApplyRefused", "1/2")
    eu, us = status.regions
    assert (eu.waiting_for, us.waiting_for) == ("", "exceeded quota")
    found = {entry.type: (entry.status, entry.reason) for entry in us.conditions}
    assert found["WorkloadReady"] == found["Ready"] == ("False", "ApplyRefused")
    over_all = {entry.type: (entry.status, entry.message) for entry in status.conditions}
    assert over_all["Accepted"][0] == "True", "the spec is not to blame"
    assert over_all["Ready"] == ("False", "us: exceeded quota")


def chat(*regions: str) -> dict[str, Any]:
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "chat", "namespace": "models"},
        "spec": {
            "model": {"id": "org/chat"},
            "source": {"file": {"path": "/m.gguf"}},
            "engine": {"type": "LlamaCpp"},
            "regions": [{"name": region} for region in regions],
        },
    }


async def test_a_status_of_what_has_just_been_deleted_is_not_written_and_nothing_is_wrong() -> None:
    class Client:
        async def apply(self, manifest: Manifest, *, manager: str, subresource: str) -> None:
            raise NotFound("modeldeployments chat not found")

    writer = Writer(Client(), SimpleNamespace(held=True), Observed(Settings()), Metrics())  # type: ignore[arg-type]
    await writer.apply_status(unreadable({}))
    assert not writer._observed.models
