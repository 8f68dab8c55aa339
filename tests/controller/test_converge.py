"""What is asked of the API server for the objects of an owner, with a writer that only remembers."""

from typing import Any, cast

import pytest

from tomoul.api.meta import LABEL_REGION
from tomoul.controller.converge import Refused, converge
from tomoul.controller.observed import Observed
from tomoul.controller.writer import Writer
from tomoul.kube.errors import InternalError, Invalid, KubeError, Unavailable, WebhookAway
from tomoul.plan.settings import Settings
from tomoul.plan.world import Manifest


class Asked:
    """A writer."""

    def __init__(self, **answers: KubeError) -> None:
        """What is answered, by kind, where it is no success."""
        self._answers = answers
        self.asked: list[str] = []

    async def apply(self, manifest: Manifest, **_: object) -> None:
        self.asked.append(f"{manifest['kind']} {manifest['metadata']['name']}")
        if (error := self._answers.get(manifest["kind"])) is not None:
            raise error


def wanted(kind: str, region: str) -> Manifest:
    metadata = {"namespace": "models", "name": f"chat-{region}", "labels": {LABEL_REGION: region}}
    version = "apps/v1" if kind == "Deployment" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {}}


OBJECTS = [wanted(kind, region) for region in ("eu", "us") for kind in ("ServiceAccount", "Deployment", "Service")]


async def converged(writer: Asked) -> Refused:
    with pytest.raises(Refused) as caught:
        await converge(Observed(Settings()), cast(Writer, writer), "uid", OBJECTS)
    return caught.value


async def test_a_webhook_that_does_not_answer_is_waited_for_once_and_told_of_all_objects_of_that_kind() -> None:
    """Its patience is up to 30 s, and a worker that waits does nothing else."""
    writer = Asked(Deployment=WebhookAway("500: failed calling webhook"))
    refused = await converged(writer)
    assert writer.asked == [
        "ServiceAccount chat-eu", "Deployment chat-eu", "Service chat-eu", "ServiceAccount chat-us", "Service chat-us",
    ]  # fmt: skip
    assert refused.by_region == {
        region: f"Deployment `chat-{region}`: 500: failed calling webhook" for region in ("eu", "us")
    }
    assert isinstance(refused.passing, WebhookAway)


async def test_what_fails_for_some_objects_is_asked_for_all_and_passes_only_if_nothing_is_refused_for_good() -> None:
    passing = Asked(Service=InternalError("500: range is full"))
    assert isinstance((await converged(passing)).passing, InternalError)
    assert len(passing.asked) == 6
    for_good = Asked(Service=InternalError("500: range is full"), Deployment=Invalid("422: no"))
    refused = await converged(for_good)
    assert refused.passing is None
    assert refused.by_region["eu"] == "Deployment `chat-eu`: 422: no; Service `chat-eu`: 500: range is full"


async def test_an_api_server_that_is_away_is_asked_for_nothing_more() -> None:
    writer = Asked(Deployment=Unavailable("503"))
    with pytest.raises(Unavailable):
        await converge(Observed(Settings()), cast(Writer, writer), "uid", OBJECTS)
    assert writer.asked == ["ServiceAccount chat-eu", "Deployment chat-eu"]


async def test_a_kind_that_cannot_be_listed_is_not_written_and_told_with_the_reason() -> None:
    observed, writer = Observed(Settings()), Asked()
    scaled: dict[str, Any] = {**wanted("ScaledObject", "eu"), "apiVersion": "keda.sh/v1alpha1"}
    assert not await converge(observed, cast(Writer, writer), "uid", [scaled]), "it has not been listed yet"
    observed.scaled_objects.unlisted = "403: no"
    with pytest.raises(Refused, match="ScaledObject `chat-eu`: what there is of its kind cannot be listed: 403: no"):
        await converge(observed, cast(Writer, writer), "uid", [scaled])
    assert not writer.asked
