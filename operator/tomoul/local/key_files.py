"""API keys from files: the Secrets that stand beside the Tenants in local mode, where there is no API server."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tomoul.api.yamltext import documents
from tomoul.gateway.compile.keys import SecretKeys, SecretRef, missing, read_keys
from tomoul.kube.manifests import DEFAULT_NAMESPACE, files_of, text_of


def keys_of(paths: Sequence[Path], wanted: frozenset[SecretRef]) -> dict[SecretRef, SecretKeys]:
    """The keys in the `wanted` Secrets of the YAML files in `paths`; what is no Secret is passed over."""
    found = {ref: missing(ref) for ref in sorted(wanted)}
    if not wanted:
        return found
    for document in _documents(paths):
        match document:
            case {"kind": "Secret", "metadata": {"name": str(name), **metadata}}:
                ref = SecretRef(str(metadata.get("namespace") or DEFAULT_NAMESPACE), name)
                if ref in wanted:
                    found[ref] = read_keys(name, _data(document))
    return found


def _data(secret: Mapping[str, Any]) -> dict[str, str]:
    """`data`, with `stringData` over it as the API server would put it."""
    plain = {str(entry): str(value) for entry, value in (secret.get("stringData") or {}).items()}
    encoded = {entry: base64.b64encode(value.encode()).decode() for entry, value in plain.items()}
    return {**{str(entry): str(value) for entry, value in (secret.get("data") or {}).items()}, **encoded}


def _documents(paths: Sequence[Path]) -> Iterator[Any]:
    for path in files_of(paths):
        # What cannot be read has been reported with the other resources of the file.
        yield from documents(text_of(path))
