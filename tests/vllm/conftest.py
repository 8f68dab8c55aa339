"""A real vLLM: this layer runs where VLLM_CPU_HOME or VLLM_CUDA_HOME names a virtual environment with one.

What needs a GPU is skipped without VLLM_CUDA_HOME, and all of it where neither is set.
"""

import os
from pathlib import Path

import pytest

from tests.vllm.engine import ON_A_CPU, ON_A_GPU, Vllm


def _named(variable: str) -> Path | None:
    named = os.environ.get(variable, "")
    if not named:
        return None
    home = Path(named)
    assert (home / "bin" / "python").exists(), f"{variable}={named} has no bin/python"
    return home


@pytest.fixture(scope="session")
def vllm_home() -> Path:
    """The virtual environment with vLLM."""
    home = _named("VLLM_CUDA_HOME") or _named("VLLM_CPU_HOME")
    if home is None:
        pytest.skip("neither VLLM_CUDA_HOME nor VLLM_CPU_HOME names a virtual environment with vLLM")
    return home


@pytest.fixture(scope="session")
def vllm(vllm_home: Path) -> Vllm:
    """The vLLM that is there."""
    return Vllm(vllm_home, ON_A_CPU if _named("VLLM_CUDA_HOME") is None else ON_A_GPU)


@pytest.fixture(scope="session")
def vllm_on_a_gpu(vllm: Vllm) -> Vllm:
    """The vLLM that is there, if it runs on a GPU."""
    if vllm.machine is not ON_A_GPU:
        pytest.skip("VLLM_CUDA_HOME names no virtual environment with vLLM for GPUs")
    return vllm
