"""A real vLLM: this layer runs where VLLM_CPU_HOME names a virtual environment with one, and is skipped elsewhere."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def vllm_home() -> Path:
    """The virtual environment with vLLM."""
    named = os.environ.get("VLLM_CPU_HOME", "")
    if not named:
        pytest.skip("VLLM_CPU_HOME names no virtual environment with vLLM")
    home = Path(named)
    assert (home / "bin" / "python").exists(), f"VLLM_CPU_HOME={named} has no bin/python"
    return home
