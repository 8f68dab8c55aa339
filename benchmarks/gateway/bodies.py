"""Requests and answers of the size and shape of real ones, always the same bytes."""

import json

API_KEY = "sk-benchmark-of-the-gateway-and-its-peers"
"""What every request carries, whoever asks for it."""

# Not all the same: litellm takes an engine that repeats itself for a broken one.
STREAM_CHUNKS = [
    b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1760000000,'
    b'"model":"bench/model-00000","choices":[{"index":0,"delta":{"content":" token%d"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n' % number
    for number in range(10)
]
STREAM_USAGE = (
    b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1760000000,'
    b'"model":"bench/model-00000","choices":[],"usage":{"prompt_tokens":250,"completion_tokens":200,'
    b'"total_tokens":450,"prompt_tokens_details":{"cached_tokens":0}}}\n\n'
)
STREAM_END = b"data: [DONE]\n\n"
COMPLETION = json.dumps(
    {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "bench/model-00000",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "A short answer of a few words. " * 10},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 250, "completion_tokens": 80, "total_tokens": 330},
    },
    separators=(",", ":"),
).encode()

_TURN = 'The pump\'s log says "pressure low" at 10:42,\nand again at 11:07; what would you check first, and why? ' * 2
_FILLING = "You help the people who run the pumps. "


def request_body(model: str, size: int, chunks: int = 0) -> bytes:
    """A chat request of `size` bytes: a conversation in turns of 0.3 KB, with the quotes and newlines of prose.

    With `chunks` it asks for a stream of that many (as `max_tokens`, which the fake engine goes by).
    """
    head = {"model": model, "max_tokens": chunks or 100, **({"stream": True} if chunks else {})}
    messages = [{"role": "system", "content": ""}]
    room = size - len(_compact({**head, "messages": messages}))
    for turn in range(size):
        message = {"role": "assistant" if turn % 2 else "user", "content": _TURN}
        if len(_compact(message)) + 1 > room:
            break
        messages.append(message)
        room -= len(_compact(message)) + 1
    messages[0]["content"] = (_FILLING * (room // len(_FILLING) + 1))[:room]
    return _compact({**head, "messages": messages})


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
