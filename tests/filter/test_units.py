"""The filter's own unit tests, beside its sources."""

import subprocess
import sys
from pathlib import Path

import pytest

from tomoul.api.routing import Timeouts
from tomoul.gateway.filter.build import SOURCES, BuildError, compile_filter


def test_the_filters_unit_tests_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    command = [sys.executable, "-m", "ziglang", "test", "-lc", "--cache-dir", str(tmp_path_factory.mktemp("zig"))]
    result = subprocess.run([*command, str(SOURCES / "tests.zig")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "passed" in result.stderr


def test_every_source_with_tests_is_among_them() -> None:
    listed = (SOURCES / "tests.zig").read_text()
    missing = [
        file.name for file in SOURCES.glob("*.zig") if '\ntest "' in file.read_text() and file.name not in listed
    ]
    assert missing == []


def test_the_filter_knows_how_long_a_call_may_be_idle_unless_its_model_says_otherwise() -> None:
    usual = f"const usual_idle_seconds = {Timeouts().idle_seconds};"
    assert usual in (SOURCES / "cluster_specifier.zig").read_text()


def test_another_platform_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(BuildError, match="for x86_64 and arm64, and this machine is riscv64"):
        compile_filter(tmp_path)
