"""What the installation decides, in the objects that the plan makes."""

from dataclasses import replace

import pytest

from tests.plan.specs import KEY, model, region, world
from tomoul.api.meta import LABEL_REVISION
from tomoul.plan.gateway import gateway
from tomoul.plan.model import plan_model
from tomoul.plan.settings import Settings
from tomoul.plan.world import Manifest


def planned(settings: Settings, engine: str = "LlamaCpp", image: str | None = None) -> dict[str, Manifest]:
    """Objects of a model with that engine, by kind."""
    found = model(engine=engine)
    if image is not None:
        engine_spec = found.spec.engine.model_copy(update={"image": image})
        found = found.model_copy(update={"spec": found.spec.model_copy(update={"engine": engine_spec})})
    return {obj["kind"]: obj for obj in plan_model(replace(world(found), settings=settings), KEY).objects}


def engine_image(objects: dict[str, Manifest]) -> str:
    image: str = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


@pytest.mark.parametrize(
    ("engine", "image", "runs"),
    [
        ("LlamaCpp", None, "registry.local/cpu-engine:7"),
        ("LlamaCpp", "registry.local/own:1", "registry.local/own:1"),
        ("VLLM", None, "vllm/vllm-openai:"),
        ("SGLang", None, "lmsysorg/sglang:"),
    ],
)
def test_the_installation_says_which_image_llama_cpp_runs_in_unless_the_spec_names_one(
    engine: str, image: str | None, runs: str
) -> None:
    settings = Settings(llama_cpp_image="registry.local/cpu-engine:7")
    assert engine_image(planned(settings, engine, image)).startswith(runs)


def test_pull_secrets_reach_gateways_by_their_pods_and_engines_by_their_service_account() -> None:
    settings = Settings(image_pull_secrets=("registry", "mirror"))
    wanted = [{"name": "registry"}, {"name": "mirror"}]
    (deployment,) = [obj for obj in gateway(region(), settings) if obj["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["imagePullSecrets"] == wanted
    assert planned(settings)["ServiceAccount"]["imagePullSecrets"] == wanted


def test_without_pull_secrets_the_field_is_left_to_others() -> None:
    (deployment,) = [obj for obj in gateway(region(), Settings()) if obj["kind"] == "Deployment"]
    assert "imagePullSecrets" not in deployment["spec"]["template"]["spec"]
    assert "imagePullSecrets" not in planned(Settings())["ServiceAccount"]


def test_the_named_namespaces_may_reach_the_engines_beside_the_gateways() -> None:
    def admitted(settings: Settings) -> list[str]:
        (rule,) = planned(settings)["NetworkPolicy"]["spec"]["ingress"]
        labels = [peer["namespaceSelector"]["matchLabels"] for peer in rule["from"]]
        return [found["kubernetes.io/metadata.name"] for found in labels]

    assert admitted(Settings()) == ["tomoul-system"]
    assert admitted(Settings(scrape_namespaces=("monitoring",))) == ["tomoul-system", "monitoring"]


def test_only_what_the_installation_lists_of_a_models_metadata_reaches_its_objects_and_pods() -> None:
    found = model()
    metadata = found.metadata.model_copy(
        update={
            "labels": {"example.com/team": "search", "argocd.argoproj.io/instance": "models", "tier": "gold"},
            "annotations": {"example.com/owner": "ann", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        }
    )
    labelled = world(found.model_copy(update={"metadata": metadata}))
    listed = Settings(propagated_labels=("example.com/team", "absent"), propagated_annotations=("example.com/owner",))
    plain = plan_model(replace(world(found), settings=listed), KEY).objects
    assert plan_model(labelled, KEY).objects == plan_model(world(found), KEY).objects, "nothing is listed"
    objects = plan_model(replace(labelled, settings=listed), KEY).objects
    assert len(objects) == len(plain)
    for before, after in zip(plain, objects, strict=True):
        told = [(before["metadata"], after["metadata"])]
        if after["kind"] == "Deployment":
            told.append((before["spec"]["template"]["metadata"], after["spec"]["template"]["metadata"]))
            assert after["spec"]["selector"] == before["spec"]["selector"]
        for old, new in told:
            added = new["labels"].items() - old["labels"].items()
            # A pod template's revision is another, since its labels are.
            assert {(name, value) for name, value in added if name != LABEL_REVISION} == {
                ("example.com/team", "search")
            }
            assert new["annotations"] == {"example.com/owner": "ann"}
