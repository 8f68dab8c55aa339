"""vLLM moves prompts to the pod's memory: what that takes, and on a real GPU what it keeps of its promises there."""

import json
from collections.abc import Iterator

import pytest

from tests.truth.endpoint import TENANTS, Call, Endpoint
from tests.truth.oracle import BEGINNING
from tests.truth.orders import fresh_prompt
from tests.vllm.engine import Vllm

MOVED, FORGOTTEN = "test/moved", "test/forgotten"
FIRST, SECOND, _ = TENANTS
CACHE = {"mode": "Tenant", "noStore": "Isolated"}
ROOM = "2M"
"""Of the GPU's cache: 4096 tokens of the tiny model."""
PROMPTS = 12
"""More than there is room for."""


@pytest.fixture(scope="module")
def endpoint(vllm_on_a_gpu: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("tiny")
    vllm_on_a_gpu.run("tiny_model.py", folder)
    offload, resources = {"memory": "1Gi"}, {**vllm_on_a_gpu.machine.resources, "memory": "16Gi"}
    models = [
        vllm_on_a_gpu.model("moved", folder, {**CACHE, "offload": offload}, room=ROOM, resources=resources),
        vllm_on_a_gpu.model("forgotten", folder, CACHE, room=ROOM),
    ]
    with vllm_on_a_gpu.serve(models) as served:
        yield served


def push_out(endpoint: Endpoint, model: str) -> None:
    """Ask so much else that the GPU's cache has nothing left of what was asked before."""
    for _ in range(PROMPTS):
        endpoint.counted(Call(FIRST, model, fresh_prompt()))


def test_vllm_finds_a_prompt_again_that_its_gpu_has_no_room_for(endpoint: Endpoint) -> None:
    call = Call(FIRST, MOVED, fresh_prompt())
    assert endpoint.counted(call).cached < BEGINNING
    push_out(endpoint, MOVED)
    again = endpoint.counted(call)
    assert again.cached == endpoint.most(again)
    assert again.cached > again.prompt // 2


def test_without_offload_it_is_not_found_again(endpoint: Endpoint) -> None:
    """Without which the tests beside this one could not fail."""
    call = Call(FIRST, FORGOTTEN, fresh_prompt())
    endpoint.counted(call)
    push_out(endpoint, FORGOTTEN)
    assert endpoint.counted(call).cached < BEGINNING


def test_what_vllm_has_moved_is_no_other_tenants_and_no_no_store_calls(endpoint: Endpoint) -> None:
    call = Call(FIRST, MOVED, fresh_prompt())
    endpoint.counted(call)
    push_out(endpoint, MOVED)
    assert endpoint.counted(Call(SECOND, MOVED, call.prompt)).cached < BEGINNING
    assert endpoint.counted(Call(FIRST, MOVED, call.prompt, no_store=True)).cached == 0


def test_what_vllm_has_moved_of_a_no_store_call_is_never_found(endpoint: Endpoint) -> None:
    call = Call(FIRST, MOVED, fresh_prompt(), no_store=True)
    assert endpoint.counted(call).cached == 0
    push_out(endpoint, MOVED)
    assert endpoint.counted(call).cached == 0
    push_out(endpoint, MOVED)
    assert endpoint.counted(Call(FIRST, MOVED, call.prompt)).cached < BEGINNING


def test_each_pod_of_a_replica_fills_its_part_but_needs_room_for_what_all_of_them_offload(vllm: Vllm) -> None:
    """Why more than that is refused."""
    told = json.loads(vllm.run("set_aside.py", "2"))
    assert told["little"]["whole"] == 2 * told["little"]["filled"]
    assert "Insufficient space in /dev/shm" in told["much"]["error"]
