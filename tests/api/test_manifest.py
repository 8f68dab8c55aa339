from pathlib import Path

import pytest

from tests.api.cases import cases
from tomoul.api.fielderror import FieldError
from tomoul.api.manifest import InvalidResource, parse_manifests, parse_resource
from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region

REGION = """\
apiVersion: tomoul.ai/v1alpha1
kind: Region
metadata: {name: eu-west}
spec: {}
"""


def messages(text: str) -> list[str]:
    return [str(error) for error in parse_manifests(text, "file.yaml").errors]


def test_documents_of_other_groups_are_named_and_passed_over() -> None:
    notes = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
    parsed = parse_manifests(f"---\n{REGION}---\n{notes}", "a.yaml")
    assert [type(resource) for resource in parsed.resources] == [Region]
    assert parsed.ignored == ("a.yaml: ConfigMap notes",)
    assert not parsed.errors


def test_of_namespaces_all_labels_are_read_however_often_they_are_declared() -> None:
    labelled = "apiVersion: v1\nkind: Namespace\nmetadata: {name: models, labels: {tomoul.ai/jurisdictions: EU}}\n"
    parsed = parse_manifests(f"{labelled}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: models}}\n", "a.yaml")
    assert parsed.namespaces == {"models": {"tomoul.ai/jurisdictions": "EU"}}
    assert not parsed.ignored


def test_the_items_of_a_list_are_read() -> None:
    items = "\n".join(f"  {line}" for line in REGION.splitlines())
    parsed = parse_manifests(f"apiVersion: v1\nkind: List\nitems:\n-{items[1:]}\n", "a.yaml")
    assert [resource.metadata.name for resource in parsed.resources] == ["eu-west"]


def test_all_errors_of_all_documents_are_told_with_file_document_object_and_field() -> None:
    text = f"{REGION}---\n{REGION.replace('spec: {}', 'spec: {state: Off, placement: {nodeSelektor: {}}}')}---\n- 1\n"
    assert messages(text) == [
        "file.yaml: document 2: Region eu-west: spec.placement.nodeSelektor: is unknown; did you mean `nodeSelector`?",
        (
            "file.yaml: document 2: Region eu-west: spec.state: must be 'Active', 'Draining' or 'Disabled', not false: "
            "YAML reads Off, On, No, N, Yes and Y as booleans unless they are in quotes"
        ),
        "file.yaml: document 3: must be an object with `apiVersion`, `kind`, `metadata` and `spec`",
    ]


def test_a_kind_of_the_group_that_does_not_exist_is_an_error_with_a_suggestion() -> None:
    (message,) = messages(REGION.replace("kind: Region", "kind: Regions"))
    assert message == (
        'file.yaml: document 1: Regions eu-west: kind: must be Region, ModelDeployment or Tenant, not "Regions"; '
        "did you mean `Region`?"
    )


def test_a_routing_table_is_refused_since_the_operator_writes_them() -> None:
    (message,) = messages(REGION.replace("kind: Region", "kind: RoutingTable"))
    assert message.endswith("RoutingTables are written by the operator")


def test_another_version_of_the_group_is_an_error_that_names_the_right_one() -> None:
    (message,) = messages(REGION.replace("v1alpha1", "v1"))
    assert message.endswith('apiVersion: must be `tomoul.ai/v1alpha1`, not "tomoul.ai/v1"')


def test_broken_yaml_is_told_with_its_line_and_what_came_before_is_kept() -> None:
    parsed = parse_manifests(f"{REGION}---\na: [\n", "file.yaml")
    assert len(parsed.resources) == 1
    (error,) = parsed.errors
    assert error.document == 2
    assert "is not valid YAML in line 7" in error.message


def test_a_key_given_twice_is_an_error_where_kubectl_would_take_the_last_without_a_word() -> None:
    (message,) = messages(f"{REGION}kind: Tenant\n")
    assert "`kind` is given twice" in message


def test_a_slip_in_the_group_is_an_error_and_not_somebody_elses_object() -> None:
    (message,) = messages(REGION.replace("tomoul.ai", "tomul.ai"))
    assert message.endswith('apiVersion: must be `tomoul.ai/v1alpha1`, not "tomul.ai/v1alpha1"')
    assert messages(REGION.replace("tomoul.ai", "capsule.clastix.io")) == []


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{name: acme, lables: {a: b}}", "metadata.lables: is unknown; did you mean `labels`?"),
        (
            "{name: Acme}",
            "metadata.name: must be the name of a Kubernetes object: lower-case letters, digits, inner `-` and `.`",
        ),
        (
            "{name: acme, labels: {team: a b}}",
            "metadata.labels.team: must be a label value: letters, digits and inner `.`, `_`, `-`",
        ),
        (
            "{name: acme, namespace: Models}",
            "metadata.namespace: must be a namespace: at most 63 lower-case letters, digits and inner hyphens",
        ),
        (f"{{name: acme, namespace: {'n' * 64}}}", "metadata.namespace: must have at most 63 characters, not 64"),
    ],
)
def test_metadata_that_the_api_server_refuses_is_refused_by_field(metadata: str, message: str) -> None:
    tenant = (
        f"apiVersion: tomoul.ai/v1alpha1\nkind: Tenant\nmetadata: {metadata}\nspec: {{apiKeys: {{secretName: keys}}}}\n"
    )
    (found,) = messages(tenant)
    assert found.endswith(message)


def test_a_number_for_a_text_is_told_what_yaml_made_of_it_and_which_form_is_right() -> None:
    (message,) = messages(REGION.replace("spec: {}", "spec: {jurisdiction: 0123}"))
    assert (
        "spec.jurisdiction: must be a valid string, not 83: YAML reads it as a number unless it is in quotes; must be"
        in message
    )


def test_a_secret_in_the_place_of_its_name_is_told_what_belongs_there_and_not_repeated() -> None:
    tenant = "apiVersion: tomoul.ai/v1alpha1\nkind: Tenant\nmetadata: {name: acme}\nspec: {apiKeys: sk-hidden}\n"
    (message,) = messages(tenant)
    assert message.endswith("spec.apiKeys: must be an object with fields out of `secretName`")


def test_a_certificate_that_was_cut_is_refused_before_it_stops_every_table() -> None:
    (full,) = [each.values[0].object for each in cases("accepted") if each.id == "region: every field set"]
    bundle = full["spec"]["endpoint"]["caBundle"]
    lines = bundle.splitlines()
    for broken in ("\n".join([*lines[:3], *lines[4:]]), f"{bundle}{lines[0]}\n", lines[0] + lines[-1]):
        full["spec"]["endpoint"]["caBundle"] = broken
        with pytest.raises(InvalidResource, match=r"spec\.endpoint\.caBundle: must hold PEM certificates, each from"):
            parse_resource(full)
    full["spec"]["endpoint"]["caBundle"] = f"# Two of them, as bundles have them\n{bundle}\n{bundle}"
    parse_resource(full)


def test_a_wrong_length_is_told_by_what_is_allowed_and_what_is_there() -> None:
    long = REGION.replace("spec: {}", f"spec: {{displayName: {'x' * 129}}}")
    assert messages(long) == [
        "file.yaml: document 1: Region eu-west: spec.displayName: must have at most 128 characters, not 129"
    ]
    model = """\
apiVersion: tomoul.ai/v1alpha1
kind: ModelDeployment
metadata: {name: phi-4}
spec:
  model: {id: microsoft/phi-4}
  source: {file: {path: /models/phi-4.gguf}}
  engine: {type: LlamaCpp}
  regions: REGIONS
"""
    where = "file.yaml: document 1: ModelDeployment phi-4: spec.regions"
    assert messages(model.replace("REGIONS", "[]")) == [f"{where}: must have at least 1 item, not 0"]
    (message,) = messages(model.replace("REGIONS", "[eu-west]"))
    assert message.startswith(f"{where}[0]: must be an object with fields out of `name`, `replicas`, `scaling`")


def test_what_the_api_server_adds_to_an_object_is_no_error() -> None:
    obj = {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "Region",
        "metadata": {
            "name": "eu-west",
            "uid": "1",
            "generation": 3,
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "x"}],
            "selfLink": "",
        },
        "spec": {},
        "status": {"newer": True, "modelsReady": 2},
    }
    region = parse_resource(obj)
    assert isinstance(region, Region)
    assert (region.metadata.generation, region.status.models_ready) == (3, 2)


def test_a_status_that_cannot_be_read_counts_as_empty() -> None:
    obj = {
        "apiVersion": "tomoul.ai/v1alpha1",
        "kind": "Region",
        "metadata": {"name": "eu-west"},
        "spec": {},
        "status": {"conditions": "broken"},
    }
    region = parse_resource(obj)
    assert isinstance(region, Region)
    assert region.status.conditions == ()


def test_an_object_without_metadata_or_spec_is_refused_by_field() -> None:
    with pytest.raises(InvalidResource) as refusal:
        parse_resource({"apiVersion": "tomoul.ai/v1alpha1", "kind": "ModelDeployment"})
    assert refusal.value.errors == (FieldError("metadata", "is required"), FieldError("spec", "is required"))


def test_the_examples_are_read_without_errors() -> None:
    files = sorted((Path(__file__).parent.parent.parent / "examples").glob("*.yaml"))
    parsed = [parse_manifests(file.read_text(), file.name) for file in files]
    assert [error for each in parsed for error in each.errors] == []
    assert {type(resource) for each in parsed for resource in each.resources} >= {Region, ModelDeployment}
