"""The walk through the contract: calls as any client makes them, and whether each showed what it should."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import openai
from openai.types.chat import ChatCompletion

from tomoul.local.cast import Cast
from tomoul.local.step import Result, Seen, Step, UnexpectedError, expect

MAX_TOKENS = 32
MAX_JSON_TOKENS = 256
"""Enough for an object of the schemas below with whatever white space."""
TEMPLATE_TOKENS = 16
"""Tokens that any two prompts share, since the chat template begins with them."""
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "capital": {"type": "boolean"}},
    "required": ["city", "capital"],
    "additionalProperties": False,
}


async def walk(url: str, cast: Cast) -> AsyncIterator[Result]:
    """Take every step against the gateway at `url` (without a path), in order."""
    # A proxy of this machine's environment leads elsewhere.
    direct = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30, http_client=direct
    ) as client:
        for step in Walk(client, cast).steps():
            try:
                yield Result(step, await step.run(), True)
            except UnexpectedError as error:
                yield Result(step, Seen(str(error), ""), False)
            except openai.APIStatusError as error:
                told = f"expected an answer, got {error.status_code}: {_told(error)}"
                yield Result(step, Seen(told, error.response.headers.get("x-tomoul-region", "")), False)
            except openai.OpenAIError as error:
                yield Result(step, Seen(f"expected an answer, got {type(error).__name__}: {error}", ""), False)


class Walk:
    """The steps, with what they share."""

    def __init__(self, client: openai.AsyncOpenAI, cast: Cast) -> None:
        self._client, self._cast = client, cast

    def steps(self) -> Sequence[Step]:
        """All steps, in order."""
        cast = self._cast
        steps = [
            Step("list of models", "GET /v1/models", self.models),
            Step("a completion", cast.model, self.completion),
            *(Step(f"pinned to {name}", f"X-Tomoul-Region: {name}", self._pinned(name)) for name in cast.regions),
            Step("a stream", "stream: true", self.stream),
            Step("a tool call", "tools, tool_choice: required", self.tools),
            Step("JSON of a schema", "response_format: json_schema", self.json_schema),
            Step("prompt cache", "the same prompt twice", self.cache),
            Step("no-store", "a prompt twice with X-Tomoul-Cache: no-store, then without", self.no_store),
        ]
        if cast.absent:
            model, region = cast.absent
            steps.append(Step("not in that region", f"{model}, X-Tomoul-Region: {region}", self.absent))
        return steps

    async def models(self) -> Seen:
        """The list names every model that the files do."""
        raw = await self._client.models.with_raw_response.list()
        ids = [model.id for model in raw.parse().data]
        expect(set(ids) == self._cast.served, f"the models {sorted(self._cast.served)}", ids)
        return Seen(", ".join(ids), raw.headers.get("x-tomoul-region", ""))

    async def completion(self) -> Seen:
        """A call that names no region is answered by one of the model's."""
        answer, region = await self._ask("Say something about the sea.")
        expect(region in self._cast.regions, f"a region of {list(self._cast.regions)}", region)
        expect(answer.id.startswith("chatcmpl_"), "an id that starts with chatcmpl_", answer.id)
        text = answer.choices[0].message.content
        expect(bool(text), "some text", answer.choices[0].message)
        return Seen(f"“{text}”", region)

    def _pinned(self, region: str) -> Callable[[], Awaitable[Seen]]:
        async def pinned() -> Seen:
            answer, seen = await self._ask("And about the hills?", {"X-Tomoul-Region": region})
            expect(seen == region, f"x-tomoul-region: {region}", seen)
            return Seen(f"“{answer.choices[0].message.content}”", seen)

        return pinned

    async def stream(self) -> Seen:
        """Text arrives in pieces, under one id, and ends with a reason."""
        raw = await self._client.chat.completions.with_raw_response.create(
            model=self._cast.model,
            messages=[{"role": "user", "content": "Count the waves."}],
            max_tokens=MAX_TOKENS,
            stream=True,
        )
        chunks = [chunk async for chunk in raw.parse()]
        pieces = [
            chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
        ]
        reasons = [
            chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason
        ]
        expect(len(pieces) > 0 and len(chunks) > 1, "several chunks with text", len(chunks))
        expect(len(reasons) == 1, "one finish_reason", reasons)
        expect(len({chunk.id for chunk in chunks}) == 1, "one id in all chunks", {chunk.id for chunk in chunks})
        return Seen(f"{len(chunks)} chunks: “{''.join(pieces)}”", raw.headers.get("x-tomoul-region", ""))

    async def tools(self) -> Seen:
        """The model calls the tool, with arguments of the tool's schema."""
        answer, region = await self._ask(
            "What is the weather?", tools=[WEATHER], tool_choice="required", max_tokens=MAX_JSON_TOKENS
        )
        calls = answer.choices[0].message.tool_calls or []
        functions = [call.function for call in calls if call.type == "function"]
        expect(len(functions) == 1, "one tool call", answer.choices[0].message)
        function = functions[0]
        arguments = _parsed(function.arguments)
        expect(function.name == "get_weather" and list(arguments) == ["city"], "get_weather with a city", function)
        return Seen(f"get_weather({function.arguments})", region)

    async def json_schema(self) -> Seen:
        """The answer is JSON of the schema."""
        schema = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}
        answer, region = await self._ask("Name a city.", response_format=schema, max_tokens=MAX_JSON_TOKENS)
        text = answer.choices[0].message.content or ""
        expect(set(_parsed(text)) == {"city", "capital"}, "an object with city and capital", text)
        return Seen(text, region)

    async def cache(self) -> Seen:
        """A repeated prompt is read from the cache."""
        pin = {"X-Tomoul-Region": self._cast.cached_in}
        prompt = _fresh_prompt()
        first, _ = await self._ask(prompt, pin)
        second, region = await self._ask(prompt, pin)
        before, after = _cached(first), _cached(second)
        length = second.usage.prompt_tokens if second.usage else 0
        expect(before <= TEMPLATE_TOKENS, f"at most {TEMPLATE_TOKENS} cached tokens at first", before)
        expect(after > length - TEMPLATE_TOKENS, f"nearly all of {length} tokens cached at last", after)
        return Seen(f"cached tokens: {before}, then {after} of {length}", region)

    async def no_store(self) -> Seen:
        """A no-store call reads nothing from the cache, and leaves nothing in it."""
        pin = {"X-Tomoul-Region": self._cast.cached_in}
        prompt = _fresh_prompt()
        calls = [await self._ask(prompt, pin | {"X-Tomoul-Cache": "no-store"}) for _ in range(2)]
        left, region = await self._ask(prompt, pin)
        first, second = (_cached(answer) for answer, _ in calls)
        expect(first == second == 0, "no cached tokens with no-store", f"{first} and {second}")
        expect(_cached(left) <= TEMPLATE_TOKENS, "nothing left for a later call", f"{_cached(left)} cached tokens")
        return Seen(f"cached tokens: {first}, {second}; then {_cached(left)}", region)

    async def absent(self) -> Seen:
        """A pin to a region without the model is an error that says where the model is."""
        assert self._cast.absent is not None
        model, region = self._cast.absent
        try:
            await self._ask("Hello?", {"X-Tomoul-Region": region}, model=model)
        except openai.NotFoundError as error:
            expect(error.code == "model_not_available_in_region", "code model_not_available_in_region", error.code)
            body = error.body if isinstance(error.body, dict) else {}
            expect("available_regions" in body, "available_regions", body)
            seen = f"404 {error.code}, available_regions: {', '.join(body['available_regions'])}"
            return Seen(seen, error.response.headers.get("x-tomoul-region", ""))
        raise UnexpectedError("expected 404 model_not_available_in_region, got an answer")

    async def _ask(
        self, prompt: str, headers: Mapping[str, str] | None = None, **fields: object
    ) -> tuple[ChatCompletion, str]:
        """The answer and the region that gave it."""
        raw = await self._client.chat.completions.with_raw_response.create(
            model=self._cast.model,
            messages=[{"role": "user", "content": prompt}],
            max_tokens=MAX_TOKENS,
            extra_headers=headers,
            extra_body=fields,  # what is named here too replaces what is above
        )
        answer = raw.parse()
        return answer, raw.headers.get("x-tomoul-region", "")


def _parsed(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnexpectedError(f"expected a JSON object, got {text}")
    return value


def _fresh_prompt() -> str:
    """A prompt that no cache can know, from its beginning on."""
    return f"{secrets.token_hex(8)}: tell me what the tide brings in, and what it takes away again."


def _cached(answer: ChatCompletion) -> int:
    details = answer.usage.prompt_tokens_details if answer.usage else None
    return (details.cached_tokens or 0) if details else 0


def _told(error: openai.APIStatusError) -> str:
    return f"{error.code}: {error.body.get('message')}" if isinstance(error.body, dict) else error.response.text[:200]
