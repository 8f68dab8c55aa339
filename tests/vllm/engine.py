"""vLLM's processes, started as the plan renders them, and the models that they serve."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.truth.endpoint import Endpoint
from tests.truth.planned import model, planned

START_SECONDS = 900
"""Several engines that start at once, on a machine that has other things to do."""
ACCELERATOR = "nvidia-h100"
PRODUCT = {"name": ACCELERATOR, "product": "NVIDIA-H100-80GB-HBM3"}
COUNTERS = ("vllm:prompt_tokens_total", "vllm:prompt_tokens_cached_total")


@dataclass(frozen=True)
class Machine:
    """What differs between vLLM on CPUs and on a GPU."""

    block: int
    """Tokens that it caches together."""
    environment: Mapping[str, str]
    args: tuple[str, ...]
    """Arguments of every model's, by which several engines have room beside one another."""
    resources: Mapping[str, Any]


_OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
ON_A_CPU = Machine(
    128,
    _OFFLINE | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
    ("--dtype=bfloat16", "--enforce-eager"),
    {},
)
ON_A_GPU = Machine(
    16,
    _OFFLINE,
    # Such as --enforce-eager, with which they start sooner.
    ("--dtype=bfloat16", "--gpu-memory-utilization=0.05", *os.environ.get("VLLM_CUDA_ARGS", "").split()),
    {"accelerator": ACCELERATOR},
)


@dataclass(frozen=True)
class Vllm:
    """A virtual environment with vLLM, and what its engines run on."""

    home: Path
    machine: Machine

    def run(self, program: str, *args: str | Path, given: str = "") -> str:
        """What a program beside this file prints, run by vLLM's own Python with `given` on its stdin."""
        argv = [self.home / "bin" / "python", Path(__file__).with_name(program), *args]
        done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def model(
        self,
        name: str,
        folder: Path,
        cache: Mapping[str, Any],
        replicas: int = 1,
        args: Sequence[str] = (),
        room: str = "1G",
        engine: Mapping[str, Any] | None = None,
        **spec: Any,
    ) -> dict[str, Any]:
        """A ModelDeployment of the weights in `folder`; `room` is that of a GPU's KV cache."""
        machine = self.machine
        limits = (f"--kv-cache-memory-bytes={room}",) if machine is ON_A_GPU else ()
        run = {"type": "VLLM", "args": [*machine.args, *limits, *args], **(engine or {})}
        rest = {
            "source": {"file": {"path": str(folder)}},
            "capabilities": {"contextWindow": 1024},
            "resources": machine.resources,
        }
        return model(name, run, cache, replicas, **(rest | spec))

    def serve(self, models: Sequence[dict[str, Any]]) -> AbstractContextManager[Endpoint]:
        """The models behind a gateway."""

        def launch(command: Sequence[str], args: Sequence[str], port: int) -> Sequence[str | Path]:
            assert list(command) == ["vllm", "serve"]
            return [self.home / "bin" / "vllm", "serve", *args, "--host", "127.0.0.1", "--port", str(port)]

        machine, place = self.machine, {"accelerators": [PRODUCT]}
        return planned(models, launch, COUNTERS, machine.environment, machine.block, START_SECONDS, placement=place)
