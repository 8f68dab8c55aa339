"""The chart's ValidatingAdmissionPolicies on a real API server: what they refuse, in which words, and what not."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.chart.helm import HelmError, Object, render
from tests.controlplane.api import ApiError, eventually
from tests.controlplane.harness import ControlPlane

POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
GROUP = "/apis/tomoul.ai/v1alpha1"
LABEL = "tomoul.ai/jurisdictions"
REGIONS = {"adm-eu": {"jurisdiction": "EU"}, "adm-us": {"jurisdiction": "US"}, "adm-none": {}}


def policies(*values: str) -> list[Object]:
    return [found for found in render(*values) if found["kind"] in POLICIES]


def model(regions: list[str], image: str | None = None, **spec: Any) -> Object:
    engine = {"type": "VLLM"} | ({"image": image} if image else {})
    return {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "chat"},
        "spec": {
            "model": {"id": "acme/chat"},
            "source": {"file": {"path": "/models/a"}},
            "engine": engine,
            "regions": [{"name": name, "replicas": 1} for name in regions],
            **spec,
        },
    }


Put = Callable[..., Object]


@pytest.fixture(scope="module")
def put(control_plane: ControlPlane) -> Iterator[Put]:
    """Write a ModelDeployment `chat` in a namespace, with the policies in force and three Regions."""
    for name, spec in REGIONS.items():
        region = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": {"name": name}, "spec": spec}
        control_plane.api.apply(f"{GROUP}/regions/{name}", region)
    allowed = "admission.allowedImages={registry.example.com/models,docker.io/vllm,localhost:5000,nexus.example.com}"
    manifest = yaml.safe_dump_all(policies(allowed))
    control_plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", input=manifest)

    def write(namespace: str, item: Object, **query: str) -> Object:
        return control_plane.api.apply(f"{GROUP}/namespaces/{namespace}/modeldeployments/chat", item, **query)

    control_plane.add_namespace("adm-probe", {LABEL: "EU"})

    def in_force() -> bool:
        assert "adm-us" in words(write, "adm-probe", model(["adm-us"]))
        return "evil" in words(write, "adm-probe", model(["adm-eu"], "evil.example.com/a:1"))

    def none_left() -> bool:
        return not words(write, "adm-probe", model(["adm-us"], "evil.example.com/a:1"))

    eventually(in_force, 60)
    yield write
    control_plane.kubectl("delete", "-f", "-", input=manifest)
    eventually(none_left)
    control_plane.api.delete("/api/v1/namespaces/adm-probe")
    for name in REGIONS:
        control_plane.api.delete(f"{GROUP}/regions/{name}")


@pytest.fixture
def labelled(control_plane: ControlPlane, namespace: str) -> Callable[[str | None], str]:
    """Give the test's namespace the label."""

    def label(value: str | None) -> str:
        path = f"/api/v1/namespaces/{namespace}"
        control_plane.api.patch(path, {"metadata": {"labels": {LABEL: value}}})
        return namespace

    return label


def refusal(put: Put, namespace: str, item: Object) -> str:
    """The API server's words, once it has heard of the namespace's label."""

    return eventually(lambda: words(put, namespace, item))


def words(put: Put, namespace: str, item: Object) -> str:
    """What a policy says against it; nothing if it is taken."""
    try:
        put(namespace, item, dryRun="All")  # what is taken before the label is heard of would count as there before
    except ApiError as error:
        if error.status == 403 and "denied request" in str(error):
            return str(error)
        raise
    return ""


def test_a_region_in_a_jurisdiction_that_the_namespace_does_not_name_is_refused_with_the_field_and_the_way_out(
    put: Put, labelled: Callable[[str | None], str]
) -> None:
    said = refusal(put, labelled("CH_EU"), model(["adm-eu", "adm-us"]))
    assert said.endswith(
        f"spec.regions: Region `adm-us` is in jurisdiction `US`; namespace `{labelled('CH_EU')}` allows `CH`, `EU` by "
        "its label `tomoul.ai/jurisdictions`: use a region of those, or have the label changed"
    )
    assert put(labelled("CH_EU"), model(["adm-eu"]))["spec"]["regions"][0]["name"] == "adm-eu"


def test_a_region_without_a_jurisdiction_is_refused_where_one_is_asked_for(
    put: Put, labelled: Callable[[str | None], str]
) -> None:
    assert "Region `adm-none` states no jurisdiction" in refusal(put, labelled("EU"), model(["adm-none"]))
    assert "allows none by its label" in refusal(put, labelled(""), model(["adm-eu"]))


def test_a_namespace_without_the_label_may_have_all_regions_and_one_that_does_not_exist_yet_is_nobodys_business(
    put: Put, labelled: Callable[[str | None], str]
) -> None:
    assert put(labelled(None), model(list(REGIONS)))
    assert put(labelled("EU"), model([*REGIONS, "adm-later"]))["spec"]["regions"][-1]["name"] == "adm-later"


def test_what_was_there_before_the_label_can_be_changed_but_no_forbidden_region_added(
    put: Put, labelled: Callable[[str | None], str]
) -> None:
    put(labelled(None), model(["adm-us"]))
    namespace = labelled("EU")
    assert "adm-none" in refusal(put, namespace, model(["adm-us", "adm-none"]))
    assert put(namespace, model(["adm-us"], rollout={"drainSeconds": 5}))["spec"]["rollout"]["drainSeconds"] == 5
    assert put(namespace, model(["adm-eu"]))
    assert "adm-us" in refusal(put, namespace, model(["adm-us"]))


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("evil.example.com/models/vllm:1", ""),
        ("registry.example.com.evil.com/models/a:1", ""),
        ("registry.example.com/models-of-others/a:1", ""),
        ("registry.example.com/a:1", ""),
        ("vllm:1", "docker.io/library/vllm:1"),
        ("other/vllm-openai:v1", "docker.io/other/vllm-openai:v1"),
        ("localhost:50001/a:1", ""),
        ("docker.io.evil.com/vllm/a:1", ""),
        ("nexus.example.com:8083/library/a:1", ""),  # another port is another registry
        ("VLLM/vllm-openai:v1", ""),  # an upper-case letter makes it a host
    ],
)
def test_an_image_from_elsewhere_is_refused_with_the_field_and_what_is_allowed(
    put: Put, namespace: str, image: str, full: str
) -> None:
    said = refusal(put, namespace, model(["adm-eu"], image))
    assert said.endswith(
        f"spec.engine.image: `{full or image}` is not below `registry.example.com/models`, `docker.io/vllm`, "
        "`localhost:5000`, `nexus.example.com`: use an image from there, or have it mirrored"
    )


@pytest.mark.parametrize(
    "image",
    [
        None, "vllm/vllm-openai:v0.20.0", "docker.io/vllm/vllm-openai:v0.20.0", "registry.example.com/models:1",
        "registry.example.com/models@sha256:" + "0" * 64, "registry.example.com/models/deep/er:1", "localhost:5000/a",
        "nexus.example.com/library/a:1",
    ],
)  # fmt: skip
def test_images_from_the_allowed_places_and_the_installations_own_are_taken(
    put: Put, namespace: str, image: str | None
) -> None:
    assert put(namespace, model(["adm-eu"], image))


def test_the_values_decide_which_policies_there_are() -> None:
    def names(*values: str) -> list[str]:
        # What holds the operator itself is always there: test_gateway_keys.py.
        return [name for found in policies(*values) if (name := found["metadata"]["name"]) != "tomoul-gateway-keys"]

    assert names() == ["tomoul-jurisdictions"] * 2
    assert names("admission.jurisdictions=false") == []
    assert (
        sorted(names("admission.allowedImages={a.example.com}")) == ["tomoul-images"] * 2 + ["tomoul-jurisdictions"] * 2
    )
    assert names("admission.jurisdictions=false", "admission.allowedImages={a.example.com}") == ["tomoul-images"] * 2
    with pytest.raises(HelmError, match="admission/allowedImages/0"):
        render("admission.allowedImages={a.example.com/}")
