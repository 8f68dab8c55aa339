"""Downloads of OCI artifacts from a registry: whole, resumed, corrupt, refused, with tokens, from a store beside it."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.loader.registry import INDEX, MANIFEST, RegistryServer, serving
from tomoul.loader.progress import Progress
from tomoul.loader.registry import Reference, Registry, basic_of
from tomoul.loader.remote import LoadError
from tomoul.loader.volume import load
from tomoul.plan.loading import LoadFailure

WEIGHTS = Random(3).randbytes(2_000_000)
FILES = {"config.json": b"{}", "deep/model.safetensors": WEIGHTS, "LICENSE": b""}
PASSWORD = {"username": "puller", "password": "secret"}


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with serving(RegistryServer()) as found:
        yield found


def remote(
    registry: RegistryServer, reference: str = ":v1", file: str | None = None, login: dict[str, str] | None = None
) -> Registry:
    config = json.dumps({"auths": {registry.host: login}}) if login else None
    return Registry(f"{registry.host}/models/chat{reference}", file, plain_http=True, docker_config=config)


def brought(found: Registry, volume: Path) -> dict[str, bytes]:
    folder = load(found, volume, "chat", Progress(), pause=lambda seconds: None)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(found: Registry, volume: Path) -> LoadError:
    with pytest.raises(LoadError) as error:
        load(found, volume, "chat", Progress(), pause=lambda seconds: None)
    assert not (volume / "chat").exists()
    return error.value


def test_the_files_of_an_artifact_are_brought_by_tag_and_by_digest(registry: RegistryServer, tmp_path: Path) -> None:
    digest = registry.push("v1", FILES)
    for name, reference in (("tag", ":v1"), ("digest", f"@{digest}"), ("both", f":v1@{digest}")):
        (tmp_path / name).mkdir()
        assert brought(remote(registry, reference), tmp_path / name) == FILES


def test_one_file_of_an_artifact_is_brought_alone(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", {"q4.gguf": b"four", "q8.gguf": b"eight"})
    assert brought(remote(registry, file="q4.gguf"), tmp_path) == {"q4.gguf": b"four"}


def test_an_index_with_one_artifact_is_followed_and_one_with_several_is_refused(
    registry: RegistryServer, tmp_path: Path
) -> None:
    digest = registry.push("inner", {"a.gguf": b"a"})
    registry.put("v1", INDEX, {"mediaType": INDEX, "manifests": [{"digest": digest}]})
    registry.put("v2", INDEX, {"mediaType": INDEX, "manifests": [{"digest": digest}] * 2})
    assert brought(remote(registry), tmp_path) == {"a.gguf": b"a"}
    (tmp_path / "other").mkdir()
    assert "is an index of 2 artifacts: name one of them by its digest" in str(
        refused(remote(registry, ":v2"), tmp_path / "other")
    )


def test_a_cut_download_goes_on_where_it_was(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", {"a.gguf": WEIGHTS})
    registry.cut_after = 1_500_000
    assert brought(remote(registry), tmp_path) == {"a.gguf": WEIGHTS}
    assert registry.ranges == [0, 1_500_000]


def test_a_registry_that_knows_no_parts_of_blobs_is_asked_for_all_of_them(
    registry: RegistryServer, tmp_path: Path
) -> None:
    registry.push("v1", {"a.gguf": WEIGHTS})
    (tmp_path / ".chat.loading").mkdir()
    (tmp_path / ".chat.loading" / "a.gguf.part").write_bytes(WEIGHTS[:1_500_000])
    registry.whole = True
    assert brought(remote(registry), tmp_path) == {"a.gguf": WEIGHTS}
    assert registry.ranges == [1_500_000]


def test_a_content_network_that_compresses_changes_no_bytes(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", FILES)
    registry.compresses = True
    assert brought(remote(registry), tmp_path) == FILES


def test_a_registry_that_is_busy_is_asked_again(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", FILES)
    registry.broken = 3
    assert brought(remote(registry), tmp_path) == FILES


def test_wrong_bytes_are_downloaded_anew_and_never_given_to_an_engine(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", {"a.gguf": WEIGHTS})
    registry.corrupt = 1
    assert brought(remote(registry), tmp_path) == {"a.gguf": WEIGHTS}
    registry.corrupt = 1000
    (tmp_path / "other").mkdir()
    assert refused(remote(registry), tmp_path / "other").kind is LoadFailure.CORRUPT


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(registry: RegistryServer, tmp_path: Path) -> None:
    digest = registry.push("v1", {"a.gguf": b"a"})
    registry.push("v2", {"a.gguf": b"b"})
    registry.manifests[digest] = registry.manifests["v2"]
    error = refused(remote(registry, f"@{digest}"), tmp_path)
    assert error.kind is LoadFailure.CORRUPT
    assert f"the manifest that came is not {digest}" in str(error)


@pytest.mark.parametrize("asks_for_basic", [False, True])
def test_credentials_are_those_of_the_docker_config_for_the_registrys_host(
    registry: RegistryServer, tmp_path: Path, asks_for_basic: bool
) -> None:
    registry.push("v1", FILES)
    registry.user, registry.basic = ("puller", "secret"), asks_for_basic
    assert brought(remote(registry, login=PASSWORD), tmp_path) == FILES
    (tmp_path / "auth").mkdir()
    both = {"auth": base64.b64encode(b"puller:secret").decode()}
    assert brought(remote(registry, login=both), tmp_path / "auth") == FILES
    for number, login in enumerate((None, {**PASSWORD, "password": "wrong"})):
        (tmp_path / str(number)).mkdir()
        error = refused(remote(registry, login=login), tmp_path / str(number))
        assert error.kind is LoadFailure.REFUSED
        assert "HTTP 401" in str(error)
        assert "wrong" not in str(error)


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("registry.example.com", "registry.example.com"),
        ("registry.example.com:5000", "http://registry.example.com:5000"),
        ("registry.example.com", "https://registry.example.com/"),
        ("registry.example.com", "https://registry.example.com/v2/"),
        ("docker.io", "https://index.docker.io/v1/"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "https://index.docker.io/v1/"),
    ],
)
def test_a_docker_config_names_a_host_as_kubectl_and_docker_login_write_it(host: str, key: str) -> None:
    config = {"auths": {"other.example.com": {"auth": "b3RoZXI="}, key: {"auth": "cHVsbGVy"}}}
    assert basic_of(json.dumps(config), Reference.of(f"{host}/models/chat:v1").host) == "cHVsbGVy"
    assert basic_of(json.dumps(config), "third.example.com") is None


def test_a_token_that_expires_is_renewed(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", {"a.gguf": WEIGHTS})
    registry.user, registry.expire_after = ("puller", "secret"), 1
    assert brought(remote(registry, login=PASSWORD), tmp_path) == {"a.gguf": WEIGHTS}
    assert len(registry.tokens) == 2


def test_a_store_that_blobs_lie_in_is_not_told_the_token(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", FILES)
    registry.user, registry.redirect = ("puller", "secret"), True
    assert brought(remote(registry, login=PASSWORD), tmp_path) == FILES
    assert registry.leaked == []


def test_credentials_do_not_go_where_a_store_asks_for_them(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", {"a.gguf": WEIGHTS})
    registry.user, registry.redirect = ("puller", "secret"), True
    registry.store_realm = f"http://{registry.host}/elsewhere"
    error = refused(remote(registry, login=PASSWORD), tmp_path)
    assert error.kind is LoadFailure.REFUSED
    assert registry.leaked == []


def test_credentials_do_not_go_over_plain_http_to_where_the_registry_sends_them(
    registry: RegistryServer, tmp_path: Path
) -> None:
    registry.push("v1", FILES)
    registry.user, registry.realm = ("puller", "secret"), f"http://{registry.host}/token"
    config = json.dumps({"auths": {registry.host: PASSWORD}})
    secure = Registry(f"{registry.host}/models/chat:v1", None, docker_config=config)
    with pytest.raises(LoadError, match="HTTP 401"):
        secure._authorized(f'Bearer realm="http://{registry.host}/token",service="test"', "it")
    with pytest.raises(LoadError, match="HTTP 401"):
        secure._authorized('Bearer realm="https://[",service="test"', "it")
    assert registry.tokens == {}


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"layers": []}, "it has no layers"),
        (
            {"layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:0", "size": 1}]},
            "its layers are no files but parts of an image's root",
        ),
        (
            {"layers": [{"digest": "md5:0", "size": 1, "annotations": {"org.opencontainers.image.title": "a"}}]},
            "`a` in .* has no SHA-256 or no size",
        ),
        (
            {"layers": [{"digest": "sha256:0", "annotations": {"org.opencontainers.image.title": "a"}}]},
            "`a` in .* has no SHA-256 or no size",
        ),
        ([], "its manifest is no object"),
    ],
)
def test_what_is_no_artifact_with_files_is_refused(
    registry: RegistryServer, tmp_path: Path, manifest: object, words: str
) -> None:
    registry.put("v1", MANIFEST, manifest)
    with pytest.raises(LoadError, match=words):
        remote(registry).files()


def test_what_there_is_not_is_named(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", FILES)
    for reference, file, words in (
        (":v2", None, "models/chat:v2: HTTP 404"),
        (":v1", "b.gguf", "has no file `b.gguf`"),
    ):
        error = refused(remote(registry, reference, file), tmp_path)
        assert error.kind is LoadFailure.NOT_FOUND
        assert words in str(error)


@pytest.mark.parametrize("config", ["", "secret", "[]", "{}", '{"auths": {"HOST": {}}}', '{"auths": {"HOST": 1}}'])
def test_credentials_that_are_no_docker_config_are_refused_without_being_told(config: str) -> None:
    text = config.replace("HOST", "h:1")
    if not text:
        assert Registry("h:1/a:b", None, docker_config=text)
        return
    with pytest.raises(LoadError, match="the credentials must be a Docker config") as error:
        Registry("h:1/a:b", None, docker_config=text)
    assert "secret" not in str(error.value)


def test_the_command_takes_its_credentials_from_the_environment_and_says_by_its_exit_code_why_it_gave_up(
    registry: RegistryServer, tmp_path: Path
) -> None:
    registry.push("v1", {"a.gguf": WEIGHTS})
    registry.user = ("puller", "secret")
    command = [sys.executable, "-m", "tomoul", "load", "oci", str(tmp_path), "chat", "--plain-http", "--file=a.gguf"]
    command.append(f"--reference={registry.host}/models/chat:v1")
    for password, code in (("wrong", LoadFailure.REFUSED), ("secret", 0)):
        config = json.dumps({"auths": {registry.host: {**PASSWORD, "password": password}}})
        env = {**os.environ, "OCI_DOCKER_CONFIG": config}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        assert password not in done.stdout + done.stderr
    assert (tmp_path / "chat" / "a.gguf").read_bytes() == WEIGHTS


def test_a_file_that_would_leave_its_folder_is_refused(registry: RegistryServer, tmp_path: Path) -> None:
    registry.push("v1", {"../evil": b"x"})
    assert "named `../evil`" in str(refused(remote(registry, file="../evil"), tmp_path))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("r.example.com/a/b:v1", ("r.example.com", "a/b", "v1")),
        ("r.example.com:5000/a:v1@sha256:0", ("r.example.com:5000", "a", "sha256:0")),
        ("docker.io/ai/a:v1", ("registry-1.docker.io", "ai/a", "v1")),
    ],
)
def test_a_reference_has_a_host_a_repository_and_a_tag_or_a_digest(text: str, parts: tuple[str, str, str]) -> None:
    assert Reference.of(text) == parts
    for wrong in ("a", "a/b", "/b:c", "a/:c"):
        with pytest.raises(ValueError, match="is no reference"):
            Reference.of(wrong)
