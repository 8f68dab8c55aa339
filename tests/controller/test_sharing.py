"""What is shared is equal to what it was, and takes no more memory for being there often."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomoul.api.manifest import parse_resource
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.controller import sharing
from tomoul.controller.sharing import shared


def manifest(name: str, memory: str, message: str, labels: dict[str, str]) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "reason": "Pending", "message": message, "observedGeneration": 1}
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": "models", "labels": labels},
        "spec": {
            "model": {"id": f"acme/{name}"},
            "source": {"hf": {"repo": "acme/chat", "revision": "0" * 40}},
            "engine": {"type": "VLLM"},
            "resources": {"memory": memory},
            "regions": [{"name": region, "replicas": 1} for region in ("eu-west", "us-east")],
        },
        "status": {"regions": [{"name": region, "conditions": [condition]} for region in ("eu-west", "us-east")]},
    }


def parsed(**given: Any) -> ModelDeployment:
    found = parse_resource(manifest(**given))
    assert isinstance(found, ModelDeployment)
    return found


texts = st.sampled_from(["a", "b", "c"])


@given(st.lists(st.tuples(texts, st.sampled_from(["8Gi", "9Gi"]), texts, st.dictionaries(texts, texts, max_size=2))))
def test_what_is_shared_reads_and_is_written_as_before(models: list[tuple[str, str, str, dict[str, str]]]) -> None:
    kept = []
    for name, memory, message, labels in models:
        fields: dict[str, Any] = {"name": name, "memory": memory, "message": message, "labels": labels}
        kept.append((fields, shared(parsed(**fields))))
    for fields, model in kept:
        fresh = parsed(**fields)
        assert model == fresh
        assert model.model_dump(exclude_unset=True) == fresh.model_dump(exclude_unset=True)


def test_equal_parts_of_different_models_are_one_object() -> None:
    first = shared(parsed(name="a", memory="8Gi", message="same", labels={}))
    second = shared(parsed(name="b", memory="8Gi", message="same", labels={}))
    assert first.status.regions[0].conditions[0] is second.status.regions[1].conditions[0]
    assert first.spec.resources is second.spec.resources
    assert first.spec.model is not second.spec.model


def test_a_copy_with_another_value_leaves_the_others_as_they_were() -> None:
    first = shared(parsed(name="a", memory="8Gi", message="same", labels={}))
    second = shared(parsed(name="b", memory="8Gi", message="same", labels={}))
    entry = first.status.regions[0].conditions[0]
    other = entry.model_copy(update={"last_transition_time": None, "message": "other"})
    assert other.message == "other"
    assert second.status.regions[0].conditions[0].message == "same"
    assert "last_transition_time" not in second.status.regions[0].conditions[0].model_fields_set


def test_what_is_remembered_to_share_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_MOST", 100)
    for number in range(200):
        shared(parsed(name=f"m{number}", memory="8Gi", message=f"{number}", labels={}))
    assert len(sharing._parts) <= 100
