"""What is kept up to date change by change equals what is computed from all there is."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tomoul.controller.observed import Observed
from tomoul.kube.resources import MODEL_DEPLOYMENTS
from tomoul.plan.claims import claims
from tomoul.plan.settings import Settings
from tomoul.plan.world import Key

NAMES = ("a", "b", "c")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(("write", "write", "write", "break", "end", "remove")),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
        st.lists(st.sampled_from(("eu", "us")), min_size=1, unique=True),
        st.integers(1, 3),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_claims_that_follow_each_change_are_those_of_all_models(steps: list[tuple[Any, ...]]) -> None:
    observed = Observed(Settings())
    for version, (name, step, ids, regions, day) in enumerate(steps, 1):
        item = {
            "apiVersion": MODEL_DEPLOYMENTS.api_version,
            "kind": MODEL_DEPLOYMENTS.kind,
            "metadata": {
                "name": name,
                "namespace": "models",
                "uid": f"{name}-{day}",
                "generation": version,
                "resourceVersion": str(version),
                "creationTimestamp": f"2026-01-0{day}T00:00:00Z",
                **({"deletionTimestamp": "2026-01-05T00:00:00Z"} if step == "end" else {}),
            },
            "spec": {
                "model": {"id": ids[0], "aliases": ids[1:]},
                "engine": {"type": "Steam" if step == "break" else "LlamaCpp"},
                "source": {"file": {"path": "/models/tiny.gguf"}},
                "resources": {"cpu": "1", "memory": "1Gi"},
                "regions": [{"name": region, "replicas": 1} for region in regions],
            },
        }
        (observed.models.remove if step == "remove" else observed.models.put)(item)
        assert observed.claims() == claims(observed.world().models)
    if steps and steps[-1][1] == "write":
        assert Key("models", steps[-1][0]) in observed.world().models
