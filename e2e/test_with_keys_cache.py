"""The prompt cache between tenants, by what answers say and engines count. It needs keys, so it comes last."""

import json
import secrets
from collections.abc import Iterator

import pytest

from e2e.cluster import Cluster
from e2e.command import ROOT
from e2e.gateway import CHAT, Gateway, gateway_of
from e2e.installation import MODELS, Platform, settle
from e2e.pods import engine_pods, metrics_of
from e2e.progress import Progress
from e2e.waiting import eventually

REGION = "us-east"
"""Its pools have one replica each, so that what is cached is found."""
TENANTS = ("demo", "other")
WORDS = " the same words again and again" * 8
BEGINNING = 16
"""More tokens than any two prompts share, by the chat template and by chance."""
DEPLOYMENT = ("modeldeployments.tomoul.ai", "-n", MODELS, "tiny-chat")


@pytest.fixture(scope="module")
def callers(platform: Platform, progress: Progress) -> Iterator[dict[str, Gateway]]:
    """The region's gateway with the key of each tenant."""
    cluster = platform.cluster
    keys = {tenant: f"sk-{secrets.token_hex(32)}" for tenant in TENANTS}
    with progress.step("asking for the keys of two tenants"):
        platform.release.install(cluster, "gateway.auth=Required")
        cluster.kubectl("apply", "-f", str(ROOT / "examples" / "tenant.yaml"))
        spec = {"apiKeys": {"secretName": "other-keys"}}
        metadata = {"name": "other", "namespace": MODELS}
        other = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec}
        cluster.kubectl("apply", "-f", "-", input=json.dumps(other))
        for tenant, key in keys.items():
            cluster.kubectl("delete", "secret", f"{tenant}-keys", "-n", MODELS, "--ignore-not-found")
            cluster.kubectl("create", "secret", "generic", f"{tenant}-keys", "-n", MODELS, f"--from-literal=k={key}")
        platform.release.wait(cluster)
    gateways = {}
    for tenant, key in keys.items():
        gateways[tenant] = gateway_of(cluster, REGION)
        gateways[tenant].client.headers["Authorization"] = f"Bearer {key}"
    for gateway in gateways.values():
        eventually(lambda gateway=gateway: gateway.chat("Hello").status_code, lambda status: status == 200)
    yield gateways
    for gateway in gateways.values():
        gateway.client.close()
    cluster.kubectl("delete", "tenant", "other", "-n", MODELS)


def fresh_prompt() -> str:
    return secrets.token_hex(8) + WORDS


def computed(cluster: Cluster) -> int:
    """Prompt tokens that the region's engines have computed, and not found in a cache, by their own count."""
    pods = engine_pods(cluster, f"tomoul.ai/region={REGION},tomoul.ai/model-deployment=tiny-chat")
    return sum(metrics_of(cluster, pod)["llamacpp:prompt_tokens_total"] for pod in pods)


def cached(cluster: Cluster, gateway: Gateway, prompt: str, no_store: bool = False) -> int:
    """Cached tokens of a call, if the engines say the same as the answer."""
    before = computed(cluster)
    answer = gateway.chat(prompt, model=CHAT, region=REGION, no_store=no_store)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    found: int = usage["prompt_tokens_details"]["cached_tokens"]
    assert computed(cluster) - before == usage["prompt_tokens"] - found
    return found


def policy_is(cluster: Cluster, mode: str, pools: int) -> None:
    """Wait until pods, one in each of so many pools, and routes of the model keep that policy."""

    def told() -> bool:
        model = cluster.get(*DEPLOYMENT)
        (row,) = [row for row in model["status"]["regions"] if row["name"] == REGION]
        ready = {each["type"]: each["status"] for each in model["status"]["conditions"]}
        current = model["status"].get("observedGeneration") == model["metadata"]["generation"]
        return bool(current and ready.get("Ready") == "True" and row["cachePolicy"]["mode"] == mode)

    eventually(told, bool, seconds=240)
    settle(cluster, MODELS)

    def pods() -> int:
        return len(engine_pods(cluster, f"tomoul.ai/region={REGION},tomoul.ai/model-deployment=tiny-chat"))

    eventually(pods, lambda count: count == pools, seconds=60)


def test_with_keys_no_tenant_finds_what_another_asked(platform: Platform, callers: dict[str, Gateway]) -> None:
    cluster, first, second = platform.cluster, callers["demo"], callers["other"]
    # Without a cache anywhere, calls with no-store need no pool of their own.
    policy_is(cluster, "Disabled", pools=1)
    prompt = fresh_prompt()
    assert [cached(cluster, caller, prompt) for caller in (first, second, first)] == [0, 0, 0]
    assert [cached(cluster, caller, prompt, no_store=True) for caller in (second, first)] == [0, 0]


def test_in_a_cache_that_tenants_share_no_store_reads_and_leaves_nothing(
    platform: Platform, callers: dict[str, Gateway], progress: Progress
) -> None:
    cluster, first, second = platform.cluster, callers["demo"], callers["other"]
    with progress.step("sharing the cache of tiny-chat"):
        cluster.kubectl("patch", *DEPLOYMENT, "--type=merge", "-p", '{"spec":{"cache":{"mode":"Shared"}}}')
        policy_is(cluster, "Shared", pools=2)
    prompt = fresh_prompt()
    assert [cached(cluster, caller, prompt, no_store=True) for caller in (first, second)] == [0, 0]
    assert cached(cluster, first, prompt) < BEGINNING
    assert cached(cluster, second, prompt) > 200, "else the misses above would mean nothing"
    assert [cached(cluster, caller, prompt, no_store=True) for caller in (second, first)] == [0, 0]
    cluster.kubectl("apply", "-f", str(ROOT / "examples" / "tiny-chat.yaml"))
