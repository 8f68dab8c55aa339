"""Downloads from a bucket of a real implementation of S3's protocol: moto, in an environment of its own."""

import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

import obstore
import pytest
from obstore.store import S3Store

from tests.loader.s3_server import Keys, S3Server, s3_server
from tomoul.loader.bucket import Bucket
from tomoul.loader.progress import Progress
from tomoul.loader.remote import LoadError, RemoteFile, TransientError
from tomoul.loader.volume import load
from tomoul.plan.loading import LoadFailure

BIG = Random(2).randbytes(12 * 1024 * 1024)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as found:
        yield found


@pytest.fixture
def endpoint(server: S3Server) -> str:
    return server.endpoint


@pytest.fixture
def store(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> S3Store:
    """A bucket of the test's own, named after it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    name = bucket_of(request)
    server.put(name)
    return S3Store(name, region="us-east-1", endpoint=server.endpoint, client_options={"allow_http": True})


def bucket_of(request: pytest.FixtureRequest) -> str:
    return f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"


@pytest.fixture
def bucket(endpoint: str, request: pytest.FixtureRequest) -> "type[Opened]":
    class Here(Opened):
        address, name = endpoint, bucket_of(request)

    return Here


class Opened:
    """Opens the test's bucket."""

    address = ""
    name = ""

    @classmethod
    def at(cls, folder: str, file: str | None = None) -> Bucket:
        return Bucket(cls.name, folder, file, endpoint=cls.address, region="us-east-1")


def at_once(seconds: float) -> None:
    """A pause that is none."""


def test_a_folder_is_brought_with_what_lies_below_it_and_nothing_beside_it(
    store: S3Store, bucket: type[Opened], tmp_path: Path
) -> None:
    obstore.put(store, "chat/2/config.json", b"{}")
    obstore.put(store, "chat/2/deep/model.safetensors", b"weights")
    obstore.put(store, "chat/20/model.safetensors", b"others")
    folder = load(bucket.at("chat/2"), tmp_path, "chat", Progress(), pause=at_once)
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == {
        "config.json": b"{}",
        "deep/model.safetensors": b"weights",
    }


def test_the_empty_object_by_which_consoles_show_a_folder_is_none_of_its_files(
    server: S3Server, store: S3Store, bucket: type[Opened], tmp_path: Path
) -> None:
    server.put(f"{bucket.name}/chat/")
    server.put(f"{bucket.name}/chat/deep/")
    obstore.put(store, "chat/deep/model.safetensors", b"weights")
    folder = load(bucket.at("chat"), tmp_path, "chat", Progress(), pause=at_once)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] == [
        "deep/model.safetensors"
    ]


def test_an_object_that_lies_where_others_have_their_folder_is_refused_by_its_name(
    store: S3Store, bucket: type[Opened], tmp_path: Path
) -> None:
    obstore.put(store, "chat/deep", b"no folder")
    obstore.put(store, "chat/deep/model.safetensors", b"weights")
    with pytest.raises(LoadError, match=r"a file and a folder named `deep`"):
        load(bucket.at("chat"), tmp_path, "chat", Progress(), pause=at_once)


@pytest.mark.parametrize("text", [b"0123\n", b"\xff\xfe  a.gguf\n", b"0123  a.gguf\n"])
def test_a_list_of_sums_that_is_none_is_refused_by_its_name(store: S3Store, bucket: type[Opened], text: bytes) -> None:
    obstore.put(store, "chat/a.gguf", b"weights")
    obstore.put(store, "chat/SHA256SUMS", text)
    with pytest.raises(LoadError, match=r"`SHA256SUMS` in s3://.*/chat is no list as `sha256sum` writes it"):
        bucket.at("chat").files()


def test_an_object_that_was_uploaded_in_parts_is_verified_by_its_etag(
    store: S3Store, bucket: type[Opened], tmp_path: Path
) -> None:
    obstore.put(store, "chat/a.gguf", BIG, use_multipart=True, chunk_size=5 * 1024 * 1024)
    (file,) = bucket.at("chat", "a.gguf").files()
    assert re.fullmatch("md5-parts:[0-9a-f]{32}-3", file.checksum)
    folder = load(bucket.at("chat", "a.gguf"), tmp_path, "chat", Progress(), pause=at_once)
    assert (folder / "a.gguf").read_bytes() == BIG


def test_a_download_goes_on_where_an_earlier_one_left_off(store: S3Store, bucket: type[Opened], tmp_path: Path) -> None:
    obstore.put(store, "chat/a.gguf", BIG, use_multipart=False)
    (tmp_path / ".chat.loading").mkdir()
    (tmp_path / ".chat.loading" / "a.gguf.part").write_bytes(BIG[:5_000_000])
    offsets = []

    class Counted(Bucket):
        def read(self, file: object, offset: int) -> Iterator[bytes]:  # type: ignore[override]
            offsets.append(offset)
            return super().read(file, offset)  # type: ignore[arg-type]

    remote = Counted(bucket.name, "chat", "a.gguf", endpoint=bucket.address, region="us-east-1")
    folder = load(remote, tmp_path, "chat", Progress(), pause=at_once)
    assert offsets == [5_000_000]
    assert (folder / "a.gguf").read_bytes() == BIG


def test_bytes_that_an_earlier_loader_left_and_that_are_wrong_are_downloaded_anew(
    store: S3Store, bucket: type[Opened], tmp_path: Path
) -> None:
    obstore.put(store, "chat/a.gguf", b"right bytes", use_multipart=False)
    (tmp_path / ".chat.loading").mkdir()
    (tmp_path / ".chat.loading" / "a.gguf.part").write_bytes(b"wrong")
    folder = load(bucket.at("chat", "a.gguf"), tmp_path, "chat", Progress(), pause=at_once)
    assert (folder / "a.gguf").read_bytes() == b"right bytes"


def test_a_list_of_sums_beside_the_weights_decides(store: S3Store, bucket: type[Opened], tmp_path: Path) -> None:
    obstore.put(store, "chat/a.gguf", b"weights")
    obstore.put(store, "chat/b.gguf", b"weights")
    sum_of = {"a.gguf": hashlib.sha256(b"weights").hexdigest(), "b.gguf": "0" * 64}
    obstore.put(store, "chat/SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in sum_of.items()).encode())
    assert load(bucket.at("chat", "a.gguf"), tmp_path, "a", Progress(), pause=at_once).is_dir()
    with pytest.raises(LoadError, match=r"`b.gguf` came 3 times with other bytes than sha256:0000"):
        load(bucket.at("chat", "b.gguf"), tmp_path, "b", Progress(), pause=at_once)


def test_an_etag_that_only_looks_like_a_checksum_is_told_as_what_it_may_be(
    store: S3Store, bucket: type[Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with KMS: 32 digits that are no MD5. The tests' server has no other ETags than MD5s.
    obstore.put(store, "chat/a.gguf", b"weights", use_multipart=False)
    remote = bucket.at("chat", "a.gguf")
    (file,) = remote.files()
    monkeypatch.setattr(remote, "files", lambda: [replace(file, checksum=f"md5:{'0' * 32}")])
    with pytest.raises(LoadError, match=r"an ETag is no checksum where KMS .* put a `SHA256SUMS` beside it") as refused:
        load(remote, tmp_path, "chat", Progress(), pause=at_once)
    assert refused.value.kind is LoadFailure.CORRUPT


def test_an_object_of_parts_that_nobody_can_guess_is_refused_before_it_is_downloaded(
    store: S3Store, bucket: type[Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"path": "chat/a.gguf", "size": 10 * 2**30, "e_tag": f'"{"0" * 32}-3"'}
    monkeypatch.setattr(obstore, "list", lambda store, prefix: [[entry]])
    with pytest.raises(LoadError, match=r"`a.gguf` in .* was uploaded in 3 parts of an unusual size.*`SHA256SUMS`"):
        bucket.at("chat", "a.gguf").files()


def test_an_object_that_is_overwritten_meanwhile_is_not_mixed_with_its_successor(
    store: S3Store, bucket: type[Opened]
) -> None:
    obstore.put(store, "chat/a.gguf", b"first")
    remote = bucket.at("chat", "a.gguf")
    (file,) = remote.files()
    obstore.put(store, "chat/a.gguf", b"other")
    with pytest.raises(LoadError, match="was overwritten while it was read: give each version its own folder"):
        list(remote.read(file, 0))


def test_a_folder_or_file_that_there_is_not_is_named(store: S3Store, bucket: type[Opened]) -> None:
    obstore.put(store, "chat/a.gguf", b"weights")
    with pytest.raises(LoadError, match=rf"s3://{bucket.name}/absent has no files"):
        bucket.at("absent").files()
    with pytest.raises(LoadError, match=r"has no file `b.gguf`"):
        bucket.at("chat", "b.gguf").files()


def test_a_bucket_that_there_is_not_is_named(store: S3Store, endpoint: str) -> None:
    with pytest.raises(LoadError, match=r"s3://absent/chat: ") as refused:
        Bucket("absent", "chat", None, endpoint=endpoint, region="us-east-1").files()
    assert refused.value.kind is LoadFailure.NOT_FOUND


def test_only_who_signs_with_the_right_keys_gets_anything(
    store: S3Store, server: S3Server, bucket: type[Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore.put(store, "chat/a.gguf", b"weights", use_multipart=False)
    keys = server.only_with_keys()
    try:
        for known, secret in (("unknown", keys.secret_access_key), (keys.access_key_id, "wrong")):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", known)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
            with pytest.raises(LoadError, match=rf"s3://{bucket.name}/chat: ") as refused:
                bucket.at("chat", "a.gguf").files()
            assert refused.value.kind is LoadFailure.REFUSED, refused.value
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_access_key)
        folder = load(bucket.at("chat", "a.gguf"), tmp_path, "chat", Progress(), pause=at_once)
        assert (folder / "a.gguf").read_bytes() == b"weights"
    finally:
        server.for_everybody()


def test_keys_whose_secret_ends_with_a_line_are_those_keys_and_of_other_characters_they_are_never_told(
    store: S3Store, server: S3Server, bucket: type[Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore.put(store, "chat/a.gguf", b"weights", use_multipart=False)
    keys = server.only_with_keys()
    try:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"{keys.access_key_id}\n")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{keys.secret_access_key}\n")
        assert len(bucket.at("chat").files()) == 1
    finally:
        server.for_everybody()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "kn\nown")
    with pytest.raises(LoadError, match="the access key id has a character that none has") as refused:
        bucket.at("chat")
    assert refused.value.kind is LoadFailure.REFUSED
    assert "own" not in str(refused.value)


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server that answers as `handler` does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def pod_identity_agent(keys: Keys, token: str) -> Iterator[str]:
    """What gives a pod on EKS the keys of its ServiceAccount's role, as the nodes' agent does. Its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.headers.get("Authorization") == token
            given = {"AccessKeyId": keys.access_key_id, "SecretAccessKey": keys.secret_access_key}
            lasting = {"Token": keys.session_token, "Expiration": "2100-01-01T00:00:00Z"}
            body = json.dumps({**given, **lasting} if right else {})
            self.send_response(200 if right else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with served(Handler) as url:
        yield f"{url}/v1/credentials"


def test_without_keys_the_pods_own_identity_is_asked_for_some(
    store: S3Store, server: S3Server, bucket: type[Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore.put(store, "chat/a.gguf", b"weights", use_multipart=False)
    (tmp_path / "token").write_text("of the ServiceAccount")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    try:
        with pod_identity_agent(server.only_with_keys(session=True), "of the ServiceAccount") as url:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
            monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
            folder = load(bucket.at("chat", "a.gguf"), tmp_path, "chat", Progress(), pause=at_once)
        assert (folder / "a.gguf").read_bytes() == b"weights"
    finally:
        server.for_everybody()


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A store that answers everything alike; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with served(Handler) as url:
        yield url


def said(code: str, message: str) -> str:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (301, said("PermanentRedirect", ""), LoadFailure.UNSUITABLE, "`us-east-1`, which `region` names, is not the"),
        (400, said("AuthorizationHeaderMalformed", "expecting 'eu-west-1'"), LoadFailure.UNSUITABLE, "'eu-west-1'"),
        (403, said("AccessDenied", "no identity-based policy"), LoadFailure.REFUSED, "AccessDenied: no identity-"),
        (404, said("NoSuchBucket", "The bucket does not exist"), LoadFailure.NOT_FOUND, "NoSuchBucket: The bucket"),
    ],
)
def test_what_a_store_says_of_a_mistake_is_told_by_its_own_words(
    status: int, body: str, kind: LoadFailure, words: str
) -> None:
    with answering(status, body) as url:
        found = Bucket("weights", "chat", None, endpoint=url, region="us-east-1")
        for ask in (found.files, lambda: list(found.read(RemoteFile("a", 1, "md5:0", "chat/a"), 0))):
            with pytest.raises(LoadError, match=re.escape(words)) as refused:
                ask()
            assert refused.value.kind is kind


def test_a_store_that_fails_again_is_told_of_in_the_same_words() -> None:
    """Others are another message in the status, and another Event."""
    told = []
    with answering(503, said("SlowDown", "Please reduce your request rate")) as url:
        found = Bucket("weights", "chat", None, endpoint=url, region="us-east-1")
        for _ in range(2):
            with pytest.raises(TransientError, match="SlowDown: Please reduce your request rate") as busy:
                found.files()
            told.append(str(busy.value))
    for _ in range(2):
        with pytest.raises(TransientError) as away:
            Bucket("weights", "chat", None, endpoint=url, region="us-east-1").files()
        told.append(str(away.value))
    assert len(set(told)) == 2


def test_a_loader_that_waits_for_a_silent_store_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "tomoul", "load", "s3", str(tmp_path), "chat", "--bucket=b", "--folder=f"]
        loader = subprocess.Popen([*command, f"--endpoint={url}"])
        try:
            with silent.accept()[0]:
                loader.terminate()
                assert loader.wait(timeout=20) == 128 + signal.SIGTERM
        finally:
            loader.kill()


def test_a_store_that_cannot_be_reached_is_tried_again(store: S3Store) -> None:
    with pytest.raises(TransientError, match=r"\(Connection refused\)"):
        Bucket("weights", "chat", None, endpoint="http://127.0.0.1:1", region="us-east-1").files()
