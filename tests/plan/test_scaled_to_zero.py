"""What is said of pools that have no replicas, by right or not."""

from typing import Any

import pytest

from tests.plan.specs import KEY, model, world
from tomoul.api.meta import Condition
from tomoul.plan.model import plan_model
from tomoul.plan.naming import pool_name
from tomoul.plan.podfact import PodFact
from tomoul.plan.scaling import KEDA_API
from tomoul.plan.world import ApiFact, AutoscalerFact, DeploymentFact, Facts, Key

DEFAULT = Key(KEY.namespace, pool_name(KEY.name, "eu-west", "default"))
NO_STORE = Key(KEY.namespace, pool_name(KEY.name, "eu-west", "no-store"))
ZERO = {"minReplicas": 0, "maxReplicas": 4, "targetInFlight": 8}
SERVING = PodFact("p", ready=True, scheduled=True, prompt_cache="none")


def told(
    target: dict[str, Any], *, keda: AutoscalerFact | None = None, two: bool = False, silent: str = ""
) -> dict[str, Condition]:
    """The conditions of a model whose pool `default` has no replicas, and, with `two`, one that serves for no-store."""
    deployment = model(regions=[{"name": "eu-west", **target}], cache={"noStore": "NotStored" if two else "Refuse"})
    facts = Facts(
        deployments={
            DEFAULT: DeploymentFact(1, 1),
            NO_STORE: DeploymentFact(1, 1, replicas=1, updated=1, ready=1, total=1),
        },
        pods={NO_STORE: [SERVING]} if two else {},
        autoscalers={DEFAULT: keda} if keda is not None else {},
        apis={KEDA_API: ApiFact()} if keda is not None else {},
        silent_gateways={"eu-west": silent} if silent else {},
    )
    found = plan_model(world(deployment, facts=facts), KEY)
    return {entry.type: entry for entry in found.status.regions[0].conditions}


@pytest.mark.parametrize("two", [False, True])
def test_a_model_without_replicas_for_its_calls_is_not_ready_though_its_pool_for_no_store_is(two: bool) -> None:
    found = told({"replicas": 0}, two=two)
    for kind in ("ModelReady", "WorkloadReady"):
        assert (found[kind].status, found[kind].reason) == ("False", "ScaledToZero")
        assert "raise `replicas`" in found[kind].message


@pytest.mark.parametrize("two", [False, True])
def test_a_model_that_the_next_call_wakes_is_ready(two: bool) -> None:
    found = told({"scaling": ZERO}, two=two)
    assert {found[kind].status for kind in ("ModelReady", "WorkloadReady", "ScalingActive")} == {"True"}


def test_where_a_pool_without_replicas_is_empty_for_good_the_one_that_a_call_wakes_counts() -> None:
    found = told({"scaling": ZERO, "noStoreReplicas": 0}, two=True)
    assert found["WorkloadReady"].status == "True"


def test_a_model_that_keda_cannot_wake_is_not_ready_and_says_what_keda_says() -> None:
    found = told({"scaling": ZERO}, keda=AutoscalerFact("ScaledObject", "False", "the trigger does not answer"))
    for kind in ("ModelReady", "WorkloadReady", "ScalingActive"):
        assert (found[kind].status, found[kind].reason) == ("False", "MetricsUnavailable")
        assert "its ScaledObject says: the trigger does not answer" in found[kind].message
    assert told({"scaling": ZERO}, keda=AutoscalerFact("ScaledObject", "True"))["WorkloadReady"].status == "True"


def test_a_model_whose_calls_a_gateway_does_not_tell_is_not_ready_while_it_has_no_replicas() -> None:
    found = told({"scaling": ZERO}, silent="gateway-a")
    for kind in ("ModelReady", "WorkloadReady", "ScalingActive"):
        assert (found[kind].status, found[kind].reason) == ("False", "MetricsUnavailable")
        assert "gateway `gateway-a` does not tell its calls" in found[kind].message
    found = told({"scaling": ZERO}, silent="gateway-a", keda=AutoscalerFact("ScaledObject", "True"))
    assert found["WorkloadReady"].status == "True", "KEDA asks the operator, and says what it hears"
