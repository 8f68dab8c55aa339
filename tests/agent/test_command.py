"""What `tomoul agent` says of wrong flags, and of tables that it cannot read."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.agent.tables import table_manifest
from tomoul.api.gatewaylimits import HIGHEST_BODY_BYTES, MIN_BODY_BYTES
from tomoul.cli.agent import command
from tomoul.gateway.agent.run import AgentOptions
from tomoul.gateway.agent.state import TableReader, TableVersion
from tomoul.gateway.compile.resources import GatewayOptions


def words(folder: Path, **changed: str) -> list[str]:
    """The command's flags."""
    flags = {
        "region": "eu-west",
        "socket": str(folder / "ads.sock"),
        "snapshot-dir": str(folder / "snapshot"),
        "salt-key-file": str(folder / "salt"),
        "pod-name": "gateway-0",
        "kubeconfig": str(folder / "kubeconfig"),
    } | changed
    return [word for name, value in flags.items() for word in (f"--{name}", value)]


def run(folder: Path, **changed: str) -> str:
    """What the command prints when it refuses to start."""
    result = CliRunner().invoke(command, words(folder, **changed))
    assert result.exit_code != 0
    assert not result.exception or isinstance(result.exception, SystemExit)
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "salt").write_bytes(b"x" * 32)
    (tmp_path / "kubeconfig").write_text("{}")
    return tmp_path


def test_flags_reach_the_gateway_as_they_are_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[AgentOptions] = []

    async def run_agent(options: AgentOptions, kubeconfig: str | None) -> None:
        started.append(options)

    monkeypatch.setattr("tomoul.cli.agent.run_agent", run_agent)
    given = {"max-body-bytes": "2097152", "stream-comment-seconds": "0", "listen-port": "8443"}
    given["max-held-bytes"] = "4194304"
    for flags in (given, {}):
        assert CliRunner().invoke(command, words(folder, **flags)).exit_code == 0
    asked, default = (options.gateway for options in started)
    assert asked == GatewayOptions(
        "eu-west",
        listen_port=8443,
        max_body_bytes=2 * 1024 * 1024,
        max_held_bytes=4 * 1024 * 1024,
        comment_seconds=0,
        salt_key=b"x" * 32,
    )
    assert default == GatewayOptions("eu-west", salt_key=b"x" * 32)


def test_a_largest_body_that_is_none_is_refused_by_name(folder: Path) -> None:
    for size in (str(MIN_BODY_BYTES - 1), str(HIGHEST_BODY_BYTES + 1), "16M"):
        assert "--max-body-bytes" in run(folder, **{"max-body-bytes": size})


def test_a_missing_or_short_salt_key_is_refused_by_name(folder: Path) -> None:
    assert "--salt-key-file" in run(folder, **{"salt-key-file": str(folder / "none")})
    (folder / "salt").write_bytes(b"short")
    assert "holds 5 bytes; a salt key has at least 16" in run(folder)


def test_a_socket_path_that_is_too_long_is_refused_by_name(folder: Path) -> None:
    output = run(folder, socket="/tmp/" + "x" * 120)
    assert "--socket" in output
    assert "longer than 107 bytes" in output


def test_a_kubeconfig_without_a_cluster_is_refused_with_what_to_do(folder: Path) -> None:
    assert "run in a pod or name a --kubeconfig" in run(folder)


def test_a_table_that_a_newer_operator_wrote_is_a_problem_that_names_the_field() -> None:
    manifest = table_manifest(uid="u", generation=4)
    manifest["spec"]["newField"] = 1
    known = TableReader("gateway-0")(manifest)
    assert known.version == TableVersion("u", 4)
    assert known.table is None
    assert known.problem == "`spec.newField`: Extra inputs are not permitted"


def test_a_table_is_read_once_per_generation_and_its_status_every_time() -> None:
    reader = TableReader("gateway-0")
    manifest = table_manifest(uid="u", generation=4)
    first = reader(manifest)
    assert first.entry is None
    entries = [{"name": "gateway-1", "acceptedGeneration": 1}, {"name": "gateway-0", "acceptedGeneration": 4}]
    second = reader({**manifest, "status": {"gateways": entries}})
    assert second.table is first.table
    assert second.entry is not None
    assert second.entry.accepted_generation == 4
    changed = reader(table_manifest(models=("acme/new",), uid="u", generation=5))
    assert changed.table is not None
    assert changed.table.spec.models[0].id == "acme/new"
