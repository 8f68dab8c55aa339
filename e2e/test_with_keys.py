"""Calls with keys, as the chart asks for them by default. After all tests that call without."""

import secrets

from e2e.command import ROOT
from e2e.gateway import CHAT, SOLO, Gateway, gateway_of
from e2e.installation import MODELS, REGIONS, Platform
from e2e.progress import Progress
from e2e.waiting import eventually


def outcome(gateway: Gateway, **call: str) -> tuple[int, str]:
    """Status and code of an answer that is an error, or 200 and nothing."""
    answer = gateway.chat("Hello", **call)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def test_the_key_of_a_tenant_is_the_way_in_and_its_removal_the_way_out(platform: Platform, progress: Progress) -> None:
    cluster, keys = platform.cluster, [f"sk-{secrets.token_hex(32)}" for _ in range(2)]
    with progress.step("asking for keys"):
        platform.release.install(cluster, "gateway.auth=Required")
        cluster.kubectl("apply", "-f", str(ROOT / "examples" / "tenant.yaml"))
        cluster.kubectl("delete", "secret", "demo-keys", "-n", MODELS, "--ignore-not-found")
        created = [f"--from-literal=k{place}={key}" for place, key in enumerate(keys)]
        cluster.kubectl("create", "secret", "generic", "demo-keys", "-n", MODELS, *created)
        cluster.kubectl("wait", "tenant", "demo", "-n", MODELS, "--for=condition=Enforced", "--timeout=120s")
        platform.release.wait(cluster)
    nobody, first, second = (gateway_of(cluster, "eu-west") for _ in range(3))
    for gateway, key in ((first, keys[0]), (second, keys[1])):
        gateway.client.headers["Authorization"] = f"Bearer {key}"
    assert outcome(nobody) == (401, "invalid_api_key")
    for region in REGIONS:
        # A forwarded call carries its key, and is asked for it again.
        assert outcome(first, region=region) == (200, "")
    assert outcome(second, model=SOLO) == (200, "")
    assert first.models() == {CHAT, SOLO}
    cluster.kubectl("patch", "secret", "demo-keys", "-n", MODELS, "-p", '{"data":{"k0":null}}')
    eventually(lambda: outcome(first), lambda found: found == (401, "invalid_api_key"), seconds=30)
    assert outcome(second) == (200, "")
    for gateway in (nobody, first, second):
        gateway.client.close()
