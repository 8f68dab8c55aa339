"""What the status says of a Secret that a node does not find: whose field names it, and which key is wanted."""

from typing import Any

import pytest

from tests.plan.specs import KEY, model, world
from tests.plan.worlds import POOL
from tomoul.api.source import Source
from tomoul.plan.model import plan_model
from tomoul.plan.podfact import ContainerFact, PodFact
from tomoul.plan.secretfields import secret_fields
from tomoul.plan.world import Facts

HF = {"hf": {"repo": "a/b", "revision": "main", "token": {"name": "store", "key": "token"}}}
OCI = {"oci": {"reference": "r.example.com/a/b:v1", "credentials": {"name": "store", "key": ".dockerconfigjson"}}}
S3 = {
    "s3": {
        "bucket": "weights",
        "folder": "b",
        "credentials": {
            "accessKeyId": {"name": "store", "key": "id"},
            "secretAccessKey": {"name": "store", "key": "secret"},
        },
    }
}
ADAPTER = {"adapters": [{"id": "acme/legal", "source": HF}]}
VARIABLE = {"engine": {"type": "VLLM", "env": [{"name": "A", "secret": {"name": "store", "key": "a"}}]}}


def told(words: str, container: str, **fields: Any) -> tuple[str, str]:
    """ModelReady's reason, and what it and WorkloadReady say."""
    waiting = ContainerFact(
        container, init=container != "engine", waiting="CreateContainerConfigError", waiting_message=words
    )
    pod = PodFact("p", node="n", scheduled=True, containers=[waiting])
    (row,) = plan_model(world(model(**fields), facts=Facts(pods={POOL: [pod]})), KEY).status.regions
    by_type = {each.type: each for each in row.conditions}
    ready = by_type["ModelReady"]
    assert by_type["WorkloadReady"].message.startswith(ready.message)
    return ready.reason, ready.message


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"source": HF}, "`spec.source.hf.token` names its key `token`"),
        ({"source": OCI}, "`spec.source.oci.credentials` names its key `.dockerconfigjson`"),
        (
            {"source": S3},
            (
                "`spec.source.s3.credentials.accessKeyId` names its key `id`, "
                "`spec.source.s3.credentials.secretAccessKey` names its key `secret`"
            ),
        ),
        (ADAPTER, "`spec.adapters[0].source.hf.token` names its key `token`"),
        (VARIABLE, "`spec.engine.env[0].secret` names its key `a`"),
    ],
    ids=["hf", "oci", "s3", "adapter", "variable"],
)
def test_a_secret_that_is_missing_is_named_with_the_field_and_the_key(fields: dict[str, Any], named: str) -> None:
    container = "engine" if "engine" in fields else "loader"
    reason, message = told('secret "store" not found', container, **fields)
    assert reason == "StartFailed"
    assert message == (
        f"Pod `p`: container `{container}` cannot be started (CreateContainerConfigError): "
        f'secret "store" not found ({named}); create what is missing, or correct what names it'
    )


def test_a_key_that_is_missing_in_a_secret_is_named_with_its_field_alone() -> None:
    _, message = told("couldn't find key secret in Secret models/store", "loader", source=S3)
    assert message.endswith(
        "couldn't find key secret in Secret models/store "
        "(`spec.source.s3.credentials.secretAccessKey` names its key `secret`); "
        "create what is missing, or correct what names it"
    )


def test_of_a_secret_that_no_field_names_the_nodes_words_are_all_that_is_said() -> None:
    _, message = told('secret "injected" not found', "engine", source=HF)
    assert 'secret "injected" not found; create' in message


def test_each_kind_of_source_that_takes_a_secret_is_looked_through() -> None:
    found = {field.split(".")[2] for source in (HF, OCI, S3) for field, _ in secret_fields(model(source=source).spec)}
    assert found == {"hf", "oci", "s3"}
    assert Source.model_fields.keys() - found == {"pvc", "file", "jurisdiction"}, "a new kind: does it take one?"
