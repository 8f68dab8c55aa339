"""Registry: weights in an OCI artifact, as `oras push` and tools like it make: a manifest whose layers are files.

The registry API is https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md, and how a client gets its
token https://distribution.github.io/distribution/spec/auth/token/. What is brought is what the digests say: of the
manifest that the reference names, and of each layer that the manifest names.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2

from tomoul.loader.remote import (
    AS_IT_IS,
    TIMEOUT_SECONDS,
    LoadError,
    RemoteFile,
    TransientError,
    bytes_from,
    http_error,
)
from tomoul.loader.selection import nothing_wanted, wanted
from tomoul.plan.loading import LoadFailure

_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ACCEPT = ", ".join((*_MANIFESTS, *_INDEXES))
_LARGEST_MANIFEST = 4 * 1024 * 1024
"""What registries are asked to take at least, by the specification."""
_TITLES = ("org.opencontainers.image.title", "org.cncf.model.filepath")
"""Annotations with a layer's file name: of `oras`, and of the CNCF's model format."""
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
"""Its name, by which Docker's tools log in, and what answers: https://docs.docker.com/reference/api/registry/latest/."""
_PARAMETER = re.compile(r'([a-z]+)="([^"]*)"')


class Reference(NamedTuple):
    """Where an artifact lies."""

    host: str
    repository: str
    tag_or_digest: str

    @classmethod
    def of(cls, text: str) -> "Reference":
        """Of `host[:port]/repository:tag` or `…@sha256:…`; ValueError for another text."""
        name, _, digest = text.partition("@")
        host, _, path = name.partition("/")
        repository, _, tag = path.partition(":")
        if not host or not repository or not (digest or tag):
            raise ValueError(f"`{text}` is no reference such as `registry.example.com/models/phi-4:v1`")
        return cls(_answering(host), repository, digest or tag)


class Registry:
    """One artifact."""

    def __init__(
        self, reference: str, file: str | None, *, plain_http: bool = False, docker_config: str | None = None
    ) -> None:
        """`file`: one file of it; None for all. `docker_config`: JSON as in `.dockerconfigjson`, else LoadError."""
        self._text = reference
        self._at = Reference.of(reference)
        self._file = file
        self._scheme = "http" if plain_http else "https"
        self._basic = basic_of(docker_config, self._at.host) if docker_config else None
        self._authorization: str | None = None
        self._client = httpx2.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True)

    def files(self) -> Sequence[RemoteFile]:
        """The layers with a file's name."""
        manifest = self._manifest(self._at.tag_or_digest)
        if manifest.get("mediaType") in _INDEXES or "manifests" in manifest:
            listed = [entry for entry in manifest.get("manifests", ()) if isinstance(entry, dict)]
            if len(listed) != 1:
                raise LoadError(f"{self._text} is an index of {len(listed)} artifacts: name one of them by its digest")
            manifest = self._manifest(str(listed[0].get("digest")))
        found: dict[str, RemoteFile] = {}
        for layer in manifest.get("layers", ()):
            name, digest, size = _named(layer), str(layer.get("digest")), layer.get("size")
            if name is None:
                continue
            if not digest.startswith("sha256:") or not isinstance(size, int) or size < 0:
                raise LoadError(f"`{name}` in {self._text} has no SHA-256 or no size")
            found[name] = RemoteFile(name, size, digest, digest)
        if not found:
            told = (
                "its layers are no files but parts of an image's root" if manifest.get("layers") else "it has no layers"
            )
            raise LoadError(f"{self._text} is no artifact with files ({told}): push them with `oras push` or the like")
        names = wanted(tuple(found), self._file)
        if not names:
            raise nothing_wanted(self._text, self._file)
        return [found[name] for name in names]

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        """The bytes of a layer from `offset` on."""
        what = f"`{file.path}` of {self._text}"
        headers = {**AS_IT_IS, **({"Range": f"bytes={offset}-"} if offset else {})}
        with self._get(f"blobs/{file.address}", headers, what) as answer:
            yield from bytes_from(answer, file, offset, what)

    def _manifest(self, reference: str) -> Mapping[str, Any]:
        what = f"`{reference}` of {self._text}" if reference != self._at.tag_or_digest else self._text
        with self._get(f"manifests/{reference}", {"Accept": _ACCEPT}, what) as answer:
            body = bytearray()
            try:
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _LARGEST_MANIFEST:
                        raise LoadError(f"{what}: its manifest has more than {_LARGEST_MANIFEST} bytes")
            except (httpx2.HTTPError, OSError) as error:
                raise TransientError(f"{what}: {error!r}") from error
            said = answer.headers.get("Docker-Content-Digest", "")
        expected = reference if ":" in reference else said
        if expected.startswith("sha256:") and expected != f"sha256:{hashlib.sha256(body).hexdigest()}":
            raise LoadError(f"{what}: the manifest that came is not {expected}", LoadFailure.CORRUPT)
        if ":" in reference and not expected.startswith("sha256:"):
            raise LoadError(f"{what}: only SHA-256 digests are verified here")
        try:
            found = json.loads(body)
        except ValueError as error:
            raise LoadError(f"{what}: its manifest is no JSON; is {self._at.host} a registry?") from error
        if not isinstance(found, dict):
            raise LoadError(f"{what}: its manifest is no object")
        return found

    @contextmanager
    def _get(self, path: str, headers: Mapping[str, str], what: str) -> Iterator[httpx2.Response]:
        """An answer below 400, with the registry's token, which is asked for when it is wanted or has expired."""
        url = f"{self._scheme}://{self._at.host}/v2/{self._at.repository}/{path}"
        for renewed in (False, True):
            sent = {**headers, **({"Authorization": self._authorization} if self._authorization else {})}
            try:
                # A redirect to a store takes the authorization along only within the same host.
                answer = self._client.send(self._client.build_request("GET", url, headers=sent), stream=True)
            except (httpx2.HTTPError, OSError) as error:
                raise TransientError(f"{what}: {error!r}") from error
            try:
                # Credentials are the registry's, and no store that it redirects to may say where they go.
                own = all(each.url.netloc == answer.url.netloc for each in answer.history)
                if answer.status_code == 401 and own and not renewed:
                    self._authorization = self._authorized(answer.headers.get("WWW-Authenticate", ""), what)
                    continue
                if answer.status_code >= 400:
                    raise http_error(answer, what)
                yield answer
                return
            finally:
                answer.close()

    def _authorized(self, challenge: str, what: str) -> str:
        """The header that a challenge asks for."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic" and self._basic:
            return f"Basic {self._basic}"
        fields = dict(_PARAMETER.findall(rest))
        realm = fields.get("realm", "")
        try:
            place = urlsplit(realm)
        except ValueError:
            place = urlsplit("")
        if kind.lower() != "bearer" or not place.netloc or place.scheme not in ("https", self._scheme):
            # Over plain HTTP, credentials go nowhere but where the spec has said so.
            raise LoadError(f"{what}: HTTP 401", LoadFailure.REFUSED)
        scope = fields.get("scope") or f"repository:{self._at.repository}:pull"
        query = {"scope": scope, **({"service": fields["service"]} if "service" in fields else {})}
        try:
            answer = self._client.get(
                realm, params=query, headers={"Authorization": f"Basic {self._basic}"} if self._basic else {}
            )
            if answer.status_code >= 400:
                raise http_error(answer, f"the token for {what}")
            told = answer.json()
            token = told.get("token") or told.get("access_token")
        except (httpx2.HTTPError, OSError) as error:
            raise TransientError(f"the token for {what}: {error!r}") from error
        except (ValueError, AttributeError) as error:
            raise LoadError(f"the token for {what}: {place.netloc} answers with none") from error
        if not isinstance(token, str):
            raise LoadError(f"the token for {what}: {place.netloc} answers with none")
        return f"Bearer {token}"


def _named(layer: Mapping[str, Any]) -> str | None:
    """The file's name, or None of what is no file: an image's layer, or an archive, which an engine cannot read."""
    kind = str(layer.get("mediaType", ""))
    if ".image.layer." in kind or ".image.rootfs." in kind or kind.endswith((".tar", "+gzip", "+zstd")):
        return None
    annotations = layer.get("annotations") or {}
    return next((str(annotations[title]) for title in _TITLES if annotations.get(title)), None)


def _answering(host: str) -> str:
    return _DOCKER_HUB[-1] if host in _DOCKER_HUB else host


def _host_of(key: str) -> str | None:
    """Host that a Docker config's key means, which may be the URL of an API's version; None for a part of a host."""
    host, _, path = key.removeprefix("https://").removeprefix("http://").partition("/")
    return _answering(host) if path.strip("/") in ("", "v1", "v2") else None


def basic_of(docker_config: str, host: str) -> str | None:
    """`user:password` of a host in base64, or None if the config has none for it. Messages never repeat the config."""
    try:
        auths = json.loads(docker_config)["auths"]
        entry = next((auths[key] for key in auths if _host_of(key) == host), None)
        if entry is None:
            return None
        if entry.get("auth"):
            base64.b64decode(entry["auth"], validate=True)
            return str(entry["auth"])
        return base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        told = 'must be a Docker config such as `{"auths": {"HOST": {"username": "…", "password": "…"}}}`'
        raise LoadError(f"the credentials {told}", LoadFailure.REFUSED) from None
