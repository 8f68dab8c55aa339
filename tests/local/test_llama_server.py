import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.local.waiting import until
from tomoul.local.llama_server import parameters, running_calls
from tomoul.local.tiny_gguf import write_tiny_gguf
from tomoul.plan.engines.llamacpp import METRICS
from tomoul.plan.firstcall import first_call


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_gguf(path)
    return path


@contextmanager
def serving(model: Path, log: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The server as a process, and its address."""
    command = [
        sys.executable,
        "-m",
        "tomoul.local.llama_server",
        "--model",
        str(model),
        "--port",
        "0",
        "--threads",
        "1",
    ]
    with log.open("wb") as output:
        server = subprocess.Popen([*command, *flags], stderr=output)
    address = re.compile(r"serving on (http://\S+)")
    try:
        until(lambda: bool(address.search(log.read_text())) or server.poll() is not None, "the server's start")
        found = address.search(log.read_text())
        assert found, log.read_text()
        yield server, found[1].replace("0.0.0.0", "127.0.0.1")
    finally:
        server.kill()
        server.wait()


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def chat(address: str, prompt: str, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 40} | fields
    return post(f"{address}/v1/chat/completions", body)


def refused(*flags: str) -> str:
    command = [sys.executable, "-m", "tomoul.local.llama_server", *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 2, result
    assert "Traceback" not in result.stderr
    return result.stderr


def test_an_unknown_flag_is_an_error_that_names_it(model: Path) -> None:
    assert "unrecognized arguments: --cache-promt" in refused("--model", str(model), "--cache-promt")


def test_an_abbreviated_flag_is_not_guessed(model: Path) -> None:
    assert "unrecognized arguments: --para" in refused("--model", str(model), "--para", "2")


@pytest.mark.parametrize("flag", ["-hf", "--hf-repo", "--hf-file", "--model-url"])
def test_flags_that_download_are_refused_with_what_to_do(model: Path, flag: str) -> None:
    message = refused("--model", str(model), flag, "some/thing")
    assert f"{flag}: this server downloads nothing; put the GGUF file in place and name it by --model" in message


def test_a_missing_model_is_named() -> None:
    assert "--model /nowhere.gguf: no such file" in refused("--model", "/nowhere.gguf")


def test_of_a_flag_that_is_given_twice_the_last_counts(model: Path) -> None:
    first = ["--model", "/models/other.gguf", "--port", "1", "--host", "0.0.0.0", "--no-cache-prompt"]
    params = parameters([*first, "--model", str(model), "--port", "2", "--host", "127.0.0.1", "--cache-prompt"])
    assert (params.model.path, params.port, params.hostnames, params.cache_prompt) == (
        str(model), 2, ["127.0.0.1"], True,
    )  # fmt: skip


def test_the_flags_of_a_pool_without_a_cache_arrive_in_llama_cpp(model: Path) -> None:
    flags = ["--no-cache-prompt", "--cache-ram", "0", "--no-cache-idle-slots", "--no-slots", "--parallel", "3"]
    params = parameters(["--model", str(model), "--alias", "a/b", "--ctx-size", "512", "--seed", "7", *flags])
    assert not params.cache_prompt
    assert not params.cache_idle_slots
    assert not params.endpoint_slots
    assert (params.cache_ram_mib, params.n_parallel, params.n_ctx, params.sampling.seed) == (0, 3, 512, 7)
    assert params.model_alias == {"a/b"}


def test_running_calls_are_those_in_work_and_those_in_the_queue() -> None:
    assert (
        running_calls("llamacpp:requests_processing 2\nllamacpp:requests_deferred 3\nllamacpp:n_decode_total 9\n") == 5
    )


def test_it_serves_the_contract_of_an_engine_on_all_addresses(model: Path, tmp_path: Path) -> None:
    flags = ("--alias", "tomoul/x", "--host", "0.0.0.0", "--ctx-size", "4096", "--parallel", "2", "--no-slots")
    with serving(model, tmp_path / "log", *flags) as (_, address):
        with urllib.request.urlopen(f"{address}/health") as health:
            assert health.status == 200
        first, second = (chat(address, "Tell me about the sea and its many moods.", seed=5) for _ in range(2))
        text = first["choices"][0]["message"]["content"]
        assert first["model"] == "tomoul/x"
        assert text.isascii()
        assert text.isprintable()
        assert second["choices"][0]["message"]["content"] == text, "equal seeds, equal answers"
        assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        assert second["usage"]["prompt_tokens_details"]["cached_tokens"] > 40
        with urllib.request.urlopen(f"{address}/metrics") as metrics:
            told = metrics.read().decode()
        assert all(f"\n{name} " in told for name in (METRICS.running, METRICS.waiting))
        assert "kv_cache" not in told, "METRICS says that it tells none"
        with pytest.raises(urllib.error.HTTPError) as slots:
            urllib.request.urlopen(f"{address}/slots")
        with slots.value:
            assert slots.value.code == 501


def test_a_pool_without_a_cache_never_reports_cached_tokens(model: Path, tmp_path: Path) -> None:
    flags = ("--no-cache-prompt", "--cache-ram", "0", "--no-cache-idle-slots", "--no-slots")
    with serving(model, tmp_path / "log", *flags) as (_, address):
        answers = [chat(address, "The same prompt, again and again.") for _ in range(3)]
        assert [a["usage"]["prompt_tokens_details"]["cached_tokens"] for a in answers] == [0, 0, 0]


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_the_model_calls_the_tool_it_is_offered_with_arguments_of_its_schema(
    model: Path, tmp_path: Path, choice: str
) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": schema}}
    with serving(model, tmp_path / "log") as (_, address):
        for _ in range(5):
            answer = chat(address, "Weather?", tools=[tool], tool_choice=choice, max_tokens=200)
            (call,) = answer["choices"][0]["message"]["tool_calls"]
            assert call["function"]["name"] == "get_weather"
            assert list(json.loads(call["function"]["arguments"])) == ["city"]
        told = [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
        ]
        answer = chat(address, "", messages=told, tools=[tool])
        assert answer["choices"][0]["message"]["content"], "after the tool's result it answers in words"


def test_sigterm_lets_a_running_stream_finish(model: Path, tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": 800, "stream": True, "logit_bias": []}
    with serving(model, tmp_path / "log", "--parallel", "1") as (server, address):
        # Without a full stop nothing ends the answer before max_tokens.
        body["logit_bias"] = [[".", False]]
        request = urllib.request.Request(
            f"{address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        lines: list[bytes] = []
        with urllib.request.urlopen(request, timeout=30) as response:
            lines.append(response.readline())
            os.kill(server.pid, signal.SIGTERM)
            reader = threading.Thread(target=lambda: lines.extend(response))
            reader.start()
            reader.join(30)
        assert server.wait(10) == 0
    events = [line for line in lines if line.strip()]
    assert events[-1] == b"data: [DONE]\n"
    assert len(events) > 700


def test_sigterm_ends_an_idle_server_at_once(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path / "log") as (server, _):
        server.terminate()
        assert server.wait(3) == 0


def test_the_startup_probe_of_a_pod_passes_once_the_engine_answers(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path / "log", "--alias", "acme/tiny") as (_, address):
        command = first_call("acme/tiny", int(address.rpartition(":")[2]))
        until(lambda: subprocess.run(command, timeout=20, check=False).returncode == 0, "the first call's answer")
