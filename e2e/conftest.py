"""`make e2e`: the chart on a kind cluster of two regions, and the examples in it.

A warm run (the cluster and the images are there) takes about eight minutes on two cores, a cold one about ten.
"""

import shutil
from collections.abc import Generator, Iterator

import pytest

from e2e.cluster import Cluster, ensure_cluster
from e2e.command import CommandError, run
from e2e.diagnostics import keep
from e2e.installation import Platform, install
from e2e.progress import Progress


class _Session:
    """What the failure hook needs: pytest gives it no fixtures."""

    cluster: Cluster | None = None
    failed = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _Session.failed = _Session.failed or report.failed
    return report


@pytest.fixture(scope="session")
def progress(request: pytest.FixtureRequest) -> Progress:
    return Progress(request.config)


@pytest.fixture(scope="session")
def cluster(progress: Progress) -> Iterator[Cluster]:
    lacking = [name for name in ("docker", "kind") if shutil.which(name) is None]
    if lacking:
        pytest.exit(f"`make e2e` needs {' and '.join(lacking)} on PATH; `make test` needs neither", returncode=1)
    try:
        run("docker", "info")
    except CommandError as error:
        pytest.exit(f"`make e2e` needs a Docker daemon that answers: {error}", returncode=1)
    _Session.cluster = ensure_cluster(progress)
    yield _Session.cluster
    if _Session.failed:
        progress.say(f"logs, events and Envoy's configuration are in {keep(_Session.cluster)}")


@pytest.fixture(scope="session")
def platform(cluster: Cluster, progress: Progress) -> Iterator[Platform]:
    installed = install(cluster, progress)
    yield installed
    for gateway in installed.gateways.values():
        gateway.client.close()
