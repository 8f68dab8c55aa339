"""Bucket: weights in an S3 bucket, or in one of a store that speaks S3's protocol."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import obstore
from obstore import exceptions
from obstore.store import S3Store

from tomoul.loader.checksum import part_sizes
from tomoul.loader.remote import (
    CHUNK_BYTES,
    TIMEOUT_SECONDS,
    LoadError,
    RemoteFile,
    TransientError,
    sound_secret,
    status_error,
)
from tomoul.loader.selection import nothing_wanted, wanted
from tomoul.plan.loading import LoadFailure

if TYPE_CHECKING:
    from obstore.store import S3Config  # of its stubs alone

SUMS = "SHA256SUMS"
"""A file beside the weights, as `sha256sum` writes it, by which they are checked where ETags are no MD5s."""
_SUM = re.compile(r"(?P<digest>[0-9A-Fa-f]{64})\s+\*?(\./)?(?P<name>.+)")
_IDENTITIES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
# Of an object that is missing obstore raises Python's own error.
_ERRORS = (exceptions.BaseError, FileNotFoundError)
_KINDS = (
    (FileNotFoundError, LoadFailure.NOT_FOUND),
    (exceptions.PermissionDeniedError, LoadFailure.REFUSED),
    (exceptions.UnauthenticatedError, LoadFailure.REFUSED),
    (exceptions.InvalidPathError, LoadFailure.UNSUITABLE),
)
# What has no exception of its own, such as a bucket that does not exist.
_STATUS = re.compile(r"status code: ([45]\d\d)")
_OWN_WORDS = re.compile(r"<Code>(.+?)</Code>.*?<Message>(.*?)</Message>")
# Of a connection that fails only what is meant for those who debug obstore says why.
_CAUSES = re.compile(r'(?:message|error): "([^"]+)"|(?<=InvalidCertificate\( )(\w+)')
_FILLERS = re.compile(
    r"Generic S3 error: |Error performing list request: | in [0-9.]+[nµm]?s\b|, after \d+ retries,.*?retry_timeout: \w+"
)


class Bucket:
    """A folder of a bucket. Credentials are the environment's, as AWS' own tools take them, or none."""

    def __init__(self, bucket: str, folder: str, file: str | None, *, endpoint: str | None, region: str) -> None:
        self._name = f"s3://{bucket}/{folder}"
        self._folder = folder.rstrip("/")
        self._file = file
        self._region = region
        anonymous = not any(os.environ.get(name) for name in _IDENTITIES)
        self._store = S3Store(
            bucket,
            region=region,
            skip_signature=anonymous,
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=TIMEOUT_SECONDS),
                # A big file takes as long as it takes; what ends an answer is silence.
                "timeout": timedelta(days=7),
                "read_timeout": timedelta(seconds=TIMEOUT_SECONDS),
            },
            retry_config={"max_retries": 2},
            config=_config(endpoint),
        )

    def files(self) -> Sequence[RemoteFile]:
        """The folder's files."""
        prefix = f"{self._folder}/"
        try:
            listed = {
                entry["path"].removeprefix(prefix): entry
                for page in obstore.list(self._store, prefix=self._folder)
                for entry in page
                if entry["path"].startswith(prefix)
            }
            sums = self._sums() if SUMS in listed else {}
        except _ERRORS as error:
            raise self._error(error, self._name) from error
        # Consoles show a folder by an empty object of its name and `/`.
        folders = {str(parent) for name in listed for parent in PurePosixPath(name).parents}
        files = tuple(name for name in listed if listed[name]["size"] or name not in folders)
        names = [name for name in wanted(files, self._file) if name != SUMS]
        if not names:
            raise nothing_wanted(self._name, self._file, "files")
        return [
            RemoteFile(
                name,
                listed[name]["size"],
                self._checksum(name, listed[name]["size"], listed[name]["e_tag"] or "", sums),
                listed[name]["path"],
                listed[name]["e_tag"] or "",
            )
            for name in names
        ]

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        """The bytes of a file from `offset` on, if it is still the one that was listed."""
        try:
            options: obstore.GetOptions = {"range": {"offset": offset}}
            if file.version:
                options["if_match"] = file.version
            yield from obstore.get(self._store, file.address, options=options).stream(CHUNK_BYTES)
        except exceptions.PreconditionError as error:
            message = (
                f"`{file.path}` in {self._name} was overwritten while it was read: give each version its own folder"
            )
            raise LoadError(message) from error
        except _ERRORS as error:
            raise self._error(error, f"`{file.path}` in {self._name}") from error

    def _sums(self) -> Mapping[str, str]:
        text = bytes(obstore.get(self._store, f"{self._folder}/{SUMS}").bytes()).decode(errors="replace")
        sums = {}
        for line in filter(str.strip, text.splitlines()):
            if (found := _SUM.fullmatch(line.strip())) is None:
                told = f"is no list as `sha256sum` writes it: it has the line `{line[:80]}`"
                raise LoadError(f"`{SUMS}` in {self._name} {told}")
            sums[found["name"]] = found["digest"].lower()
        return sums

    def _checksum(self, name: str, size: int, etag: str, sums: Mapping[str, str]) -> str:
        if name in sums:
            return f"sha256:{sums[name]}"
        digest, _, parts = etag.strip('"').partition("-")
        if len(digest) != 32:
            raise LoadError(f"`{name}` in {self._name} has no checksum: its ETag is no MD5; put a `{SUMS}` beside it")
        if not parts:
            return f"md5:{digest}"
        if not part_sizes(size, int(parts)):
            message = f"was uploaded in {parts} parts of an unusual size, so that its ETag cannot be checked"
            raise LoadError(f"`{name}` in {self._name} {message}; put a `{SUMS}` beside it")
        return f"md5-parts:{digest}-{parts}"

    def _error(self, error: Exception, what: str) -> LoadError | TransientError:
        told, _, behind = " ".join(str(error).split()).partition(" Debug source:")
        own = _OWN_WORDS.search(told)
        # Words that stay the same while the cause does: else each try would be news.
        words = f"{own[1]}: {own[2]}" if own else _FILLERS.sub("", told)[:200]
        if own is None and (causes := _CAUSES.findall(behind)):
            words = f"{words} ({''.join(causes[-1])})"
        for kind, failure in _KINDS:
            if isinstance(error, kind):
                return LoadError(f"{what}: {words}", failure)
        if "redirect without LOCATION" in told:
            return LoadError(f"{what}: `{self._region}`, which `region` names, is not the bucket's region")
        if (status := _STATUS.search(told)) is not None:
            return status_error(int(status[1]), what, words)
        return TransientError(f"{what}: {words}")


def _config(endpoint: str | None) -> "S3Config":
    found: S3Config = {"endpoint": endpoint} if endpoint else {}
    if key_id := os.environ.get("AWS_ACCESS_KEY_ID"):
        found["access_key_id"] = sound_secret(key_id, "the access key id")
    if key := os.environ.get("AWS_SECRET_ACCESS_KEY"):
        found["secret_access_key"] = sound_secret(key, "the secret access key")
    return found
