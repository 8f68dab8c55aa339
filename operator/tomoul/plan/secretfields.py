"""Secret fields: which fields of a spec name a Secret and one of its keys, for whoever has to put it there."""

import re
from collections.abc import Iterator

from tomoul.api.modeldeployment import ModelDeploymentSpec
from tomoul.api.secret import SecretKeyRef
from tomoul.api.source import Source

# The kubelet's words: https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/kubelet/kubelet_pods.go,
# makeEnvironmentVariables. Of a Secret that is missing it does not say which key was wanted.
_MISSING = re.compile(r'secret "(?P<name>[^"]+)" not found')
_WITHOUT_KEY = re.compile(r"couldn't find key (?P<key>\S+) in Secret [^/\s]+/(?P<name>[-a-z0-9.]+)")


def secret_fields(spec: ModelDeploymentSpec) -> Iterator[tuple[str, SecretKeyRef]]:
    """Each field that names a key of a Secret, and what it names."""
    yield from _of_source("spec.source", spec.source)
    for index, adapter in enumerate(spec.adapters):
        yield from _of_source(f"spec.adapters[{index}].source", adapter.source)
    for index, variable in enumerate(spec.engine.env):
        if variable.secret is not None:
            yield f"spec.engine.env[{index}].secret", variable.secret


def with_fields(message: str, spec: ModelDeploymentSpec) -> str:
    """`message` with the fields, and their keys, behind each Secret of which a node says that it lacks something."""

    def told(found: re.Match[str]) -> str:
        wanted = found.groupdict()
        fields = [
            f"`{field}` names its key `{ref.key}`"
            for field, ref in secret_fields(spec)
            if ref.name == wanted["name"] and ref.key == wanted.get("key", ref.key)
        ]
        return f"{found[0]} ({', '.join(fields)})" if fields else found[0]

    return _WITHOUT_KEY.sub(told, _MISSING.sub(told, message))


def _of_source(path: str, source: Source) -> Iterator[tuple[str, SecretKeyRef]]:
    if source.hf is not None and source.hf.token is not None:
        yield f"{path}.hf.token", source.hf.token
    if source.s3 is not None and source.s3.credentials is not None:
        yield f"{path}.s3.credentials.accessKeyId", source.s3.credentials.access_key_id
        yield f"{path}.s3.credentials.secretAccessKey", source.s3.credentials.secret_access_key
    if source.oci is not None and source.oci.credentials is not None:
        yield f"{path}.oci.credentials", source.oci.credentials
