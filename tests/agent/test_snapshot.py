"""The snapshot on disk."""

import logging
import os
from pathlib import Path

import pytest

from tests.agent.tables import routing_table
from tomoul.gateway.agent.snapshot import FILE_NAME, load_snapshot, save_snapshot
from tomoul.gateway.agent.state import GatewayState
from tomoul.gateway.compile.resources import Endpoint, PoolKey

STATE = GatewayState({"eu-west": routing_table()}, {PoolKey("models", "phi"): (Endpoint("10.0.0.1", 8000),)})


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    save_snapshot(tmp_path / "new", "eu-west", STATE)
    assert load_snapshot(tmp_path / "new", "eu-west") == STATE
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


def test_no_snapshot_is_no_error(tmp_path: Path) -> None:
    assert load_snapshot(tmp_path, "eu-west") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"region":"eu-west"}',
        b'{"region":"eu-west","tables":[{"kind":"RoutingTable"}],"endpoints":[]}',
        b'{"region":"eu-west","tables":[],"endpoints":[{"namespace":"a","service":"b","endpoints":[["x"]]}]}',
        b'{"region":"eu-west","tables":[],"endpoints":7}',
    ],
)
def test_a_broken_snapshot_is_ignored_and_named_in_the_log(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert load_snapshot(tmp_path, "eu-west") is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(tmp_path / FILE_NAME) in caplog.text


def test_any_truncation_is_ignored(tmp_path: Path) -> None:
    save_snapshot(tmp_path, "eu-west", STATE)
    whole = (tmp_path / FILE_NAME).read_bytes()
    for length in range(len(whole)):
        (tmp_path / FILE_NAME).write_bytes(whole[:length])
        assert load_snapshot(tmp_path, "eu-west") is None


def test_a_snapshot_of_another_region_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_snapshot(tmp_path, "us-east", STATE)
    assert load_snapshot(tmp_path, "eu-west") is None
    assert "`us-east`" in caplog.text


def test_a_failed_write_leaves_the_old_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_snapshot(tmp_path, "eu-west", STATE)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_snapshot(tmp_path, "eu-west", GatewayState({"eu-west": routing_table(models=("acme/new",))}))
    assert load_snapshot(tmp_path, "eu-west") == STATE
