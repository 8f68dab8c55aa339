"""Run by vLLM's own Python: writes a Llama with random weights, whose tokens are bytes, into the folder given.

It is tiny, or with `wide` as the second argument has layers as wide as those of a model of a billion weights.
"""

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<unk>", "<s>", "</s>"]

folder, wide = sys.argv[1], "wide" in sys.argv[2:]
tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
tokenizer = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate(tokens)}, merges=[], unk_token=SPECIAL[0]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, unk_token=SPECIAL[0], bos_token=SPECIAL[1], eos_token=SPECIAL[2]
)
fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
fast.save_pretrained(folder)
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=len(tokens),
    hidden_size=2048 if wide else 64,
    intermediate_size=8192 if wide else 128,
    num_hidden_layers=4 if wide else 2,
    num_attention_heads=16 if wide else 2,
    num_key_value_heads=8 if wide else 2,
    max_position_embeddings=2048,
    # So that its words differ as much as those of the wide one.
    initializer_range=0.02 if wide else 0.2,
    bos_token_id=1,
    eos_token_id=2,
)
LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
