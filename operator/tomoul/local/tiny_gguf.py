"""A tiny language model, made on the spot: random weights behind a byte vocabulary, in llama.cpp's GGUF format.

It understands nothing, yet everything around it is real: tokenizer, chat template with tools, grammars, prompt cache,
sampling with a seed. Two tricks make its answers bearable. Dimension 0 of the residual stream is a constant that no
layer writes to, so column 0 of the output matrix is a bias for each token: English letter frequencies, and nothing
that is not printable. A further dimension for each pair of FOLLOWS makes one token call for another: an offer of tools
for a tool call, a full stop for the end. Where a grammar forbids the second, the sampler takes another.
"""

import argparse
import os
import tempfile
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

LAYERS, WIDTH, HEADS, FEED_FORWARD, CONTEXT = 2, 64, 4, 128, 32768
BEGIN, END, TOOLS, TOOL_CALL, TOOL_CALL_END = "<|im_start|>", "<|im_end|>", "<|tools|>", "<tool_call>", "</tool_call>"
SPECIAL = (BEGIN, END, TOOLS, TOOL_CALL, TOOL_CALL_END)
FOLLOWS = ((TOOLS, TOOL_CALL), ("}", TOOL_CALL_END), (TOOL_CALL_END, END), (".", END))
BYTES = 256

# How often the model writes a character, per thousand; other printable ones get RARE, all else NEVER.
FREQUENT = {
    " ": 180, "e": 102, "t": 75, "a": 65, "o": 62, "n": 57, "i": 57, "s": 53, "r": 50, "h": 50, "l": 33, "d": 33,
    "u": 23, "c": 22, "m": 20, "f": 18, "w": 17, "g": 16, "p": 15, "y": 14, "b": 12, "v": 8, "k": 6, "x": 2, "j": 1,
    "q": 1, "z": 1, ",": 9, ".": 12, '"': 20, "}": 1,
}  # fmt: skip
RARE, NEVER = 0.02, 1e-12
RANDOM, NORM = 0.05, 1e-5
# What the final norm makes of dimension 0, whose siblings are RANDOM: 1 / rms.
CONSTANT = (WIDTH / (1 + (WIDTH - 1) * RANDOM**2)) ** 0.5

CHAT_TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}
{{- messages[0].content + '\\n\\n' }}
{%- endif %}
{{- '# Tools\\n\\n<tools>' }}
{%- for tool in tools %}
{{- '\\n' + (tool | tojson) }}
{%- endfor %}
{{- '\\n</tools>\\n\\nCall a function as <tool_call>{"name": <name>, "arguments": <object>}</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' + (message.content or '') }}
{%- for tool_call in message.tool_calls or [] %}
{{- '<tool_call>{"name": "' + tool_call.function.name + '", "arguments": ' + (tool_call.function.arguments | tojson) + '}</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if tools and messages[-1].role != 'tool' %}
{{- '<|tools|>' }}
{%- endif %}
{%- endif %}
"""  # noqa: E501 - a line break would become part of the prompt


def byte_tokens() -> list[str]:
    """The 256 bytes in GPT-2's spelling, in which every byte is one printable character."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(BYTES) if byte not in printable]
    spelling = {byte: chr(byte) for byte in printable} | {byte: chr(BYTES + n) for n, byte in enumerate(moved)}
    return [spelling[byte] for byte in range(BYTES)]


def vocabulary() -> list[str]:
    """All tokens, by id."""
    return [*byte_tokens(), *SPECIAL]


def output_bias() -> npt.NDArray[np.float32]:
    """The logit that each token starts from, by id."""
    frequency = np.full(BYTES + len(SPECIAL), NEVER)
    frequency[0x20:0x7F] = RARE
    for character, per_thousand in FREQUENT.items():
        frequency[ord(character)] = per_thousand
    bias: npt.NDArray[np.float32] = np.log(frequency / frequency.sum()).astype(np.float32)
    return bias


def write_tiny_gguf(path: Path, seed: int = 0) -> None:
    """Write the model to `path`, whole or not at all. Equal seeds give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    os.close(handle)
    try:
        _write(Path(unfinished), seed)
        Path(unfinished).chmod(0o644)
        Path(unfinished).replace(path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _write(path: Path, seed: int) -> None:
    tokens = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tomoul-tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(NORM)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * BYTES + [gguf.TokenType.CONTROL] * len(SPECIAL))
    writer.add_token_merges(["ÿ ÿ"])  # llama.cpp insists on one; these bytes never occur in UTF-8
    writer.add_bos_token_id(tokens.index(BEGIN))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    for name, tensor in _tensors(tokens, np.random.default_rng(seed)).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(tokens: list[str], random: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    def matrix(rows: int, columns: int, scale: float) -> npt.NDArray[np.float32]:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    reserved = 1 + len(FOLLOWS)
    ones = np.ones(WIDTH, dtype=np.float32)
    embedding = matrix(len(tokens), WIDTH, RANDOM)
    output = matrix(len(tokens), WIDTH, 3 * RANDOM)
    embedding[:, 0] = 1.0
    output[:, 0] = output_bias() / CONSTANT
    embedding[:, 1:reserved] = output[:, 1:reserved] = 0.0
    for dimension, (token, successor) in enumerate(FOLLOWS, start=1):
        embedding[tokens.index(token), dimension] = 3.0
        output[tokens.index(successor), dimension] = 5.0
    tensors = {"token_embd.weight": embedding, "output_norm.weight": ones, "output.weight": output}
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v"):
            tensors[f"{block}.{name}.weight"] = matrix(WIDTH, WIDTH, 0.3)
        for name in ("ffn_gate", "ffn_up"):
            tensors[f"{block}.{name}.weight"] = matrix(FEED_FORWARD, WIDTH, 0.3)
        for name, width in (("attn_output", WIDTH), ("ffn_down", FEED_FORWARD)):
            into_residual = matrix(WIDTH, width, RANDOM / 50)
            into_residual[:reserved] = 0.0
            tensors[f"{block}.{name}.weight"] = into_residual
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"{block}.{name}.weight"] = ones
    return tensors


def main() -> None:
    """`python -m tomoul.local.tiny_gguf PATH` writes the model to PATH."""
    parser = argparse.ArgumentParser(prog="tiny_gguf", description=main.__doc__)
    parser.add_argument("path", type=Path, metavar="PATH")
    write_tiny_gguf(parser.parse_args().path)


if __name__ == "__main__":
    main()
