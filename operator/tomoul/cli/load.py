"""`tomoul load`: bring a model's weights to a folder of a volume; the engines' pods run it before the engine starts."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import click

from tomoul.loader.progress import Progress
from tomoul.loader.remote import LoadError, Remote
from tomoul.loader.server import serving
from tomoul.loader.volume import load


@click.group()
def command() -> None:
    """Bring a model's weights to the folder VOLUME/NAME, all of them or none, with their checksums verified.

    A download that was cut goes on where it was, and of several for one folder one works while the others wait.
    """


_VOLUME = click.argument("volume", type=click.Path(path_type=Path, file_okay=False, exists=True))
_NAME = click.argument("name")
_PORT = click.option("--port", type=click.IntRange(0, 65535), help="Tell the progress at this port, as JSON.")
_FILE = click.option("--file", help="Only this file, with its sibling shards if it is one.")


@command.command("hf")
@_VOLUME
@_NAME
@click.option("--repo", required=True, help="Repository, such as `microsoft/phi-4`.")
@click.option("--revision", required=True, help="Commit, tag or branch.")
@_FILE
@_PORT
def hugging_face(volume: Path, name: str, repo: str, revision: str, file: str | None, port: int | None) -> None:
    """From a Hugging Face repository; HF_TOKEN and HF_ENDPOINT as in Hugging Face's own tools."""
    # What it tells the hub of itself it asks the hub for first, and nobody here needs it.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Imported here: each of them takes a while.
    from tomoul.loader.hub import DEFAULT_ENDPOINT, Hub

    endpoint = os.environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/")
    token = os.environ.get("HF_TOKEN")
    _load(lambda: Hub(repo, revision, file, endpoint=endpoint, token=token), volume, name, port)


@command.command("s3")
@_VOLUME
@_NAME
@click.option("--bucket", required=True)
@click.option("--folder", required=True, help="Folder in the bucket.")
@click.option("--endpoint", help="URL of a store that is not AWS'.")
@click.option("--region", default="us-east-1", show_default=True, help="AWS' region of the bucket.")
@_FILE
@_PORT
def bucket(
    volume: Path,
    name: str,
    bucket: str,
    folder: str,
    endpoint: str | None,
    region: str,
    file: str | None,
    port: int | None,
) -> None:
    """From an S3 bucket; credentials from the environment as AWS' own tools take them, or none."""
    from tomoul.loader.bucket import Bucket

    _load(lambda: Bucket(bucket, folder, file, endpoint=endpoint, region=region), volume, name, port)


@command.command("oci")
@_VOLUME
@_NAME
@click.option("--reference", required=True, help="Artifact, such as `registry.example.com/models/phi-4:v1`.")
@click.option("--plain-http", is_flag=True, help="The registry speaks HTTP.")
@_FILE
@_PORT
def artifact(volume: Path, name: str, reference: str, plain_http: bool, file: str | None, port: int | None) -> None:
    """From an OCI registry; OCI_DOCKER_CONFIG has the text of a Docker config with credentials, if it needs any."""
    from tomoul.loader.registry import Reference, Registry

    try:
        Reference.of(reference)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--reference") from error
    config = os.environ.get("OCI_DOCKER_CONFIG")
    _load(lambda: Registry(reference, file, plain_http=plain_http, docker_config=config), volume, name, port)


def _load(opened: Callable[[], Remote], volume: Path, name: str, port: int | None) -> None:
    _end_when_told()
    progress = Progress()
    began = time.monotonic()
    with ExitStack() as stack:
        if port is not None:
            stack.enter_context(serving(progress, port))
        try:
            folder = load(opened(), volume, name, progress)
        except LoadError as error:
            _give_up(error)
        except Exception:
            traceback.print_exc()
            os._exit(1)  # Likewise; and what they go on to write another loader may write by now.
    total = progress.report()["total"]
    print(f"{folder} is there: {total} bytes in {time.monotonic() - began:.0f} s", flush=True)


def _give_up(error: LoadError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(error.kind)  # Other downloads of the same source may hang in their threads; their bytes are kept.


def _end_when_told() -> None:
    """End at once on SIGTERM, which as the first process of its container it would ignore.

    A handler would wait for what the main thread does in code that is not Python's, such as a call to a silent store.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=lambda: os._exit(128 + signal.sigwait({signal.SIGTERM})), daemon=True).start()
