"""One module per engine: what differs between vLLM, SGLang and llama.cpp, and nothing else; and what they share."""
