"""Weights from a registry and from a bucket, both of which check who asks, and from a volume, in real pods."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from e2e.cluster import Object
from e2e.command import run
from e2e.installation import Platform
from e2e.manifests import apply, model, model_ready, remove, secret, until_ready, volume
from e2e.pods import engine_pods
from e2e.waiting import eventually
from tests.loader.registry import RegistryServer, basic, serving
from tests.loader.s3_server import Keys, S3Server, s3_server
from tomoul.local.tiny_gguf import write_tiny_gguf

REGION, FILE, VOLUME, FOLDER = "eu-west", "tiny.gguf", "filled", "/var/tomoul-filled"
NAMES = ("tiny-oci", "tiny-pvc", "tiny-s3")
LOGIN, KEYS, USER = "registry-login", "bucket-keys", ("puller", "password")
MISSING = {
    "tiny-oci": f'secret "{LOGIN}" not found (`spec.source.oci.credentials` names its key `.dockerconfigjson`)',
    "tiny-s3": f'secret "{KEYS}" not found (`spec.source.s3.credentials.accessKeyId` names its key `id`, '
    "`spec.source.s3.credentials.secretAccessKey` names its key `secret`)",
}


class Stores(NamedTuple):
    """What has the weights."""

    registry: RegistryServer
    digest: str
    bucket: S3Server
    keys: Keys


@pytest.fixture
def stores(platform: Platform, tmp_path: Path) -> Iterator[Stores]:
    cluster, weights = platform.cluster, tmp_path / FILE
    write_tiny_gguf(weights)
    weights.chmod(0o644)
    node = cluster.workers()[REGION]["metadata"]["name"]
    run("docker", "exec", node, "sh", "-c", f"rm -rf {FOLDER} && mkdir -m 755 {FOLDER}")
    run("docker", "cp", weights, f"{node}:{FOLDER}/{FILE}")
    host = cluster.host_address()
    with ExitStack() as stack:
        stack.callback(remove, cluster, *NAMES, others=(f"secret/{LOGIN}", f"secret/{KEYS}"), volume=VOLUME)
        # Kubernetes takes its time to bind a claim.
        apply(cluster, *volume(VOLUME, FOLDER))
        registry = stack.enter_context(serving(RegistryServer(), host))
        registry.user = USER
        bucket = stack.enter_context(s3_server(host))
        bucket.put("weights")
        bucket.put(f"weights/tiny/1/{FILE}", weights.read_bytes())
        keys = bucket.only_with_keys()
        yield Stores(registry, registry.push("v1", {FILE: weights.read_bytes()}), bucket, keys)


def sources(stores: Stores) -> dict[str, Object]:
    """By the names of their models."""
    ids = {"accessKeyId": {"name": KEYS, "key": "id"}, "secretAccessKey": {"name": KEYS, "key": "secret"}}
    bucket = {"bucket": "weights", "folder": "tiny/1", "file": FILE, "endpoint": stores.bucket.endpoint}
    reference = f"{stores.registry.host}/models/chat@{stores.digest}"
    login = {"name": LOGIN, "key": ".dockerconfigjson"}
    return {
        "tiny-oci": {"oci": {"reference": reference, "file": FILE, "plainHttp": True, "credentials": login}},
        "tiny-pvc": {"pvc": {"claimName": VOLUME, "path": FILE}},
        "tiny-s3": {"s3": {**bucket, "credentials": ids}},
    }


def test_weights_come_from_a_registry_a_bucket_and_a_volume_once_the_secrets_that_the_status_names_are_there(
    stores: Stores, platform: Platform
) -> None:
    cluster, gateway = platform.cluster, platform.gateways[REGION]
    region = {"name": REGION, "replicas": 1}
    models = [model(name, source, region) for name, source in sources(stores).items()]
    apply(cluster, *models)
    for name, words in MISSING.items():
        reason, message = eventually(
            lambda name=name: model_ready(cluster, name), lambda found: found[0] == "StartFailed", seconds=30
        )
        assert words in message, (reason, message)
    assert not stores.registry.ranges
    config = {"auths": {stores.registry.host: {"auth": basic(*USER).removeprefix("Basic ")}}}
    login = secret(LOGIN, **{".dockerconfigjson": json.dumps(config)})
    keys = secret(KEYS, id=stores.keys.access_key_id, secret=stores.keys.secret_access_key)
    apply(cluster, login, keys)
    until_ready(cluster, *NAMES)
    assert stores.registry.ranges == [0]
    for name in NAMES:
        answer = eventually(
            lambda name=name: gateway.chat("Hello", model=f"tomoul/{name}"), lambda found: found.status_code == 200
        )
        assert answer.headers["x-tomoul-region"] == REGION
        (pod,) = engine_pods(cluster, f"tomoul.ai/model-deployment={name}")
        assert ("initContainers" in pod["spec"]) == (name != "tiny-pvc")
        # What the loader may know, the engine beside it may not.
        (engine,) = pod["spec"]["containers"]
        assert not [each for each in engine.get("env", ()) if "valueFrom" in each]
