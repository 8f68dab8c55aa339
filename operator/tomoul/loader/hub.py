"""Hub: weights in a Hugging Face repository, or in a mirror that speaks its protocol."""

from collections.abc import Iterator, Sequence

import httpx2
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.hf_api import RepoSibling

from tomoul.loader.remote import (
    AS_IT_IS,
    TIMEOUT_SECONDS,
    LoadError,
    RemoteFile,
    TransientError,
    bytes_from,
    http_error,
    sound_secret,
    status_error,
)
from tomoul.loader.selection import nothing_wanted, wanted
from tomoul.plan.loading import LoadFailure

DEFAULT_ENDPOINT = "https://huggingface.co"


class Hub:
    """One revision of a repository."""

    def __init__(self, repo: str, revision: str, file: str | None, *, endpoint: str, token: str | None) -> None:
        """`file`: one file of it; None for what an engine needs of all."""
        self._repo = repo
        self._revision = revision
        self._file = file
        self._endpoint = endpoint
        self._token = sound_secret(token, "the token") if token else None
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        # A redirect to a content network takes the token along only within the same host.
        self._client = httpx2.Client(headers=headers, follow_redirects=True, timeout=TIMEOUT_SECONDS)

    def files(self) -> Sequence[RemoteFile]:
        """The files of the commit that the revision is now."""
        what = f"`{self._repo}` at revision `{self._revision}` on {self._endpoint}"
        try:
            info = HfApi(endpoint=self._endpoint, token=self._token or False).model_info(
                self._repo, revision=self._revision, files_metadata=True, timeout=TIMEOUT_SECONDS
            )
        except HfHubHTTPError as error:
            told, after = error.server_message or "", error.response.headers.get("Retry-After", "")
            raise status_error(error.response.status_code, what, told, retry_after=after) from error
        except HFValidationError as error:
            raise LoadError(f"{what}: {error}", LoadFailure.NOT_FOUND) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LoadError(f"{what}: {self._endpoint} answered with something else than a hub does") from error
        except (httpx2.HTTPError, OSError) as error:
            raise TransientError(f"{what}: {error!r}") from error
        found = {entry.rfilename: entry for entry in info.siblings or ()}
        names = wanted(tuple(found), self._file)
        if not names:
            raise nothing_wanted(what, self._file)
        return [self._described(found[name], info.sha or self._revision) for name in names]

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        """The bytes of a file from `offset` on."""
        what = f"`{file.path}` of `{self._repo}`"
        try:
            with self._client.stream("GET", file.address, headers={**AS_IT_IS, "Range": f"bytes={offset}-"}) as answer:
                if answer.status_code >= 400:
                    raise http_error(answer, what)
                yield from bytes_from(answer, file, offset, what)
        except (httpx2.HTTPError, OSError) as error:
            raise TransientError(f"{what}: {error!r}") from error

    def _described(self, entry: RepoSibling, commit: str) -> RemoteFile:
        if entry.lfs is not None:
            checksum = f"sha256:{entry.lfs.sha256}"
        elif entry.blob_id is not None:
            checksum = f"git-sha1:{entry.blob_id}"
        else:
            raise LoadError(f"{self._endpoint} tells no checksum of `{entry.rfilename}`")
        address = hf_hub_url(self._repo, entry.rfilename, revision=commit, endpoint=self._endpoint)
        return RemoteFile(entry.rfilename, entry.size or 0, checksum, address)
