"""Run by vLLM's own Python: writes LoRA adapters with random weights for the model in the first folder given.

Into the second, in a folder of each name that follows. Prints how sure the model (named "") and each adapter, merged
into it by transformers, are of the first token of their answers to the prompts on stdin, as logprobs.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaForCausalLM

RANK, ALPHA = 8, 16
MODULES = ("q_proj", "v_proj", "down_proj")

base, folder, *names = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)


def adapted(name: str, seed: int) -> LlamaForCausalLM:
    """The model with a new adapter in it."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    weights = {}
    for path, module in model.named_modules():
        if path.rsplit(".", 1)[-1] in MODULES:
            down = torch.randn(RANK, module.in_features, dtype=torch.bfloat16) / 4
            up = torch.randn(module.out_features, RANK, dtype=torch.bfloat16) / 4
            weights |= {f"base_model.model.{path}.lora_A.weight": down, f"base_model.model.{path}.lora_B.weight": up}
            with torch.no_grad():
                module.weight += (up.float() @ down.float() * ALPHA / RANK).to(torch.bfloat16)
    where = Path(folder) / name
    where.mkdir()
    save_file(weights, where / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "bias": "none"}
    config |= {"r": RANK, "lora_alpha": ALPHA, "target_modules": list(MODULES)}
    (where / "adapter_config.json").write_text(json.dumps(config))
    return model


def sureness(model: LlamaForCausalLM, prompt: str) -> float:
    """The logprob of the likeliest first token."""
    text = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False)
    tokens = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    with torch.no_grad():
        return float(model(tokens).logits[0, -1].float().log_softmax(-1).max())


models = {"": LlamaForCausalLM.from_pretrained(base, dtype=torch.bfloat16)}
models |= {name: adapted(name, seed) for seed, name in enumerate(names, 1)}
prompts = json.load(sys.stdin)
print(json.dumps({name: [sureness(model, prompt) for prompt in prompts] for name, model in models.items()}))
