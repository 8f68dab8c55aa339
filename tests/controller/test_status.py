"""What is written into a status, with a writer that only remembers."""

from collections.abc import Iterable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tomoul.api.manifest import parse_resource
from tomoul.api.meta import Condition
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.modelstatus import ModelDeploymentStatus, RegionModelStatus
from tomoul.api.tenant import Tenant
from tomoul.controller.context import Context
from tomoul.controller.declared import declared
from tomoul.controller.metrics import Metrics
from tomoul.controller.observed import Observed
from tomoul.controller.patience import Patience
from tomoul.controller.recorder import About
from tomoul.controller.status import refused_model, write_invalid, write_status
from tomoul.controller.writer import Writer
from tomoul.kube.errors import NotFound, Unavailable
from tomoul.kube.resources import MODEL_DEPLOYMENTS, TENANTS
from tomoul.plan.events import Event
from tomoul.plan.rollup import roll_up
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key, Manifest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Key("models", "chat")


class Recorder:
    """A writer."""

    def __init__(self) -> None:
        self.written: list[Manifest] = []

    async def apply_status(self, manifest: Manifest) -> None:
        self.written.append(manifest)


class Told:
    """A recorder of Events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def offer(self, about: About, events: Iterable[Event]) -> None:
        assert (about.resource, about.key, about.uid) == (MODEL_DEPLOYMENTS, KEY, "u")
        self.events += events


def context(writer: Recorder, recorder: Told) -> Context:
    return Context(
        writer=writer,  # type: ignore[arg-type]
        recorder=recorder,  # type: ignore[arg-type]
        observed=None,  # type: ignore[arg-type]
        client=None,  # type: ignore[arg-type]
        triggers=None,  # type: ignore[arg-type]
        canaries=None,  # type: ignore[arg-type]
        downloads=None,  # type: ignore[arg-type]
        metrics=None,  # type: ignore[arg-type]
        patience=Patience(),
        attempts=lambda key: 0,
        now=lambda: NOW,
    )


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
    writer, told = Recorder(), Told()
    await write_invalid(context(writer, told), MODEL_DEPLOYMENTS, KEY, declared(unreadable(before), ModelDeployment))
    (written,) = writer.written
    status = written["status"]
    assert {name: status[name] for name in ("regions", "readyRegions", "reason", "observedGeneration")} == {
        "regions": rows,
        "readyRegions": "1/1",
        "reason": "InvalidSpec",
        "observedGeneration": 4,
    }
    found = {entry["type"]: (entry["status"], entry["reason"]) for entry in status["conditions"]}
    assert found == {
        "Accepted": ("False", "InvalidSpec"),
        "Ready": ("False", "InvalidSpec"),
        "Scheduled": ("True", "AllPodsScheduled"),
    }
    await write_invalid(context(writer, told), MODEL_DEPLOYMENTS, KEY, declared(unreadable(status), ModelDeployment))
    assert len(writer.written) == 1
    assert [(event.type, event.reason) for event in told.events] == [("Warning", "InvalidSpec")]


async def test_the_column_with_a_tenants_reason_says_that_it_cannot_be_read() -> None:
    enforced = {"type": "Enforced", "status": "True", "reason": "Enforced", "observedGeneration": 3}
    item = {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": "chat", "namespace": "models", "uid": "u", "generation": 4},
        "spec": {"apiKeys": {"vault": "newer"}},
        "status": {"conditions": [enforced], "reason": "Enforced", "observedGeneration": 3},
    }
    writer = Recorder()
    told = SimpleNamespace(offer=lambda about, events: None)
    await write_invalid(context(writer, told), TENANTS, KEY, declared(item, Tenant))  # type: ignore[arg-type]
    assert writer.written[0]["status"]["reason"] == "InvalidSpec"


async def test_an_event_follows_the_status_that_it_speaks_of_and_an_unchanged_status_has_none() -> None:
    def status(ready: str, reason: str) -> ModelDeploymentStatus:
        row = RegionModelStatus(name="eu", conditions=(Condition(type="Ready", status=ready, reason=reason),))  # type: ignore[arg-type]
        return ModelDeploymentStatus(regions=(row,))

    class Refusing(Recorder):
        async def apply_status(self, manifest: Manifest) -> None:
            raise Unavailable("503")

    told = Told()
    found = context(Refusing(), told)
    with pytest.raises(Unavailable):
        await write_status(found, MODEL_DEPLOYMENTS, KEY, "u", status("True", "Ready"), status("False", "CrashLoop"))
    assert told.events == []
    found = context(Recorder(), told)
    now = await write_status(found, MODEL_DEPLOYMENTS, KEY, "u", status("True", "Ready"), status("False", "CrashLoop"))
    await write_status(found, MODEL_DEPLOYMENTS, KEY, "u", now, status("False", "CrashLoop"))
    assert [(event.type, event.reason, event.region) for event in told.events] == [("Warning", "CrashLoop", "eu")]


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


def test_what_must_not_be_removed_from_a_region_that_the_model_has_left_is_told_although_no_row_speaks_of_it() -> None:
    kinds = ("Accepted", "Scheduled", "ModelReady", "WorkloadReady", "RoutesProgrammed", "CachePolicyEnforced", "Ready")
    row = RegionModelStatus(
        name="eu", conditions=tuple(Condition(type=kind, status="True", reason="Ready") for kind in kinds)
    )
    model = parse_resource(chat("eu"))
    assert isinstance(model, ModelDeployment)
    status = refused_model(model, roll_up(model, [row]), {"us": "Deployment `chat-us`: denied by policy"})
    assert (status.reason, status.ready_regions) == ("ApplyRefused", "1/1")
    (told,) = [entry for entry in status.conditions if entry.type == "Ready"]
    assert (told.status, told.message) == (
        "False",
        "us: it is to be cleared, and Deployment `chat-us`: denied by policy",
    )


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
