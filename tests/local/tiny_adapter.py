"""A LoRA adapter for the tiny model, with random weights that leave no answer as it was."""

from pathlib import Path

import gguf
import numpy as np

from tomoul.local.tiny_gguf import FEED_FORWARD, FOLLOWS, LAYERS, WIDTH

RANK = 4


def write_tiny_adapter(path: Path, seed: int) -> Path:
    """Write an adapter in llama.cpp's format; equal seeds give equal bytes."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    random = np.random.default_rng(seed)
    for layer in range(LAYERS):
        name = f"blk.{layer}.ffn_down.weight"
        first = random.standard_normal((RANK, FEED_FORWARD)).astype(np.float32)
        second = random.standard_normal((WIDTH, RANK)).astype(np.float32)
        # The dimensions by which the model's characters are likely at all stay as they are.
        second[: 1 + len(FOLLOWS)] = 0.0
        writer.add_tensor(f"{name}.lora_a", first)
        writer.add_tensor(f"{name}.lora_b", second)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
