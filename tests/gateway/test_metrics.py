"""What is counted adds up: the lines of the access log, the metrics, and what the engines told."""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.gateway.counting import ASKED, TOKENS, counting
from tests.gateway.harness import Gateway, eventually
from tests.gateway.tables import model, table
from tests.gateway.two_regions import pools
from tests.gateway.wire import FakeEngine, Received, Reply, call, reply, stream

CALLS = 1000
HOMES = {"acme/one": "eu-west", "acme/two": "us-east"}
"""Where each model is served; all calls enter in eu-west."""
SAMPLE = re.compile(r"^envoy_tomoul_(\w+)\{(.*)\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Planned:
    """A call, and what the engine will tell of it; None where it will refuse it."""

    body: dict[str, Any]
    pin: str | None
    tokens: tuple[int, ...] | None

    @property
    def model(self) -> str:
        return str(self.body["model"])


def planned(count: int) -> list[Planned]:
    """Streams and answers in one piece, whose clients ask for usage or not, pinned or not; the same in every run."""
    choose = random.Random(4)
    calls = []
    for _ in range(count):
        name = choose.choice(list(HOMES))
        tokens = tuple(choose.randint(0, 9) for _ in TOKENS) if choose.random() < 0.9 else None
        body: dict[str, Any] = {"model": name, "messages": [{"role": "user", "content": json.dumps(tokens)}]}
        if choose.random() < 0.6:
            body |= {"stream": True, "stream_options": choose.choice([None, ASKED, {"include_usage": False}])}
        calls.append(Planned(body, HOMES[name] if choose.random() < 0.5 else None, tokens))
    return calls


def behave(request: Received) -> Sequence[Reply]:
    tokens = json.loads(request.json()["messages"][0]["content"])
    return counting(*tokens)(request) if tokens else reply(400, b'{"error":{"message":"no","code":400}}')


@pytest.fixture
def engines() -> Iterator[dict[str, FakeEngine]]:
    engines = {name: FakeEngine(name, behave=behave) for name in HOMES}
    for engine in engines.values():
        engine.start()
    yield engines
    for engine in engines.values():
        engine.stop()


@pytest.fixture
def gateways(engines: dict[str, FakeEngine]) -> Iterator[dict[str, Gateway]]:
    """eu-west serves acme/one and forwards acme/two, pinned or as its fallback, to us-east."""
    gateways = {region: Gateway(region) for region in HOMES.values()}
    eu, us = gateways["eu-west"], gateways["us-east"]
    us.publish([table([model("acme/two", pools=pools("two"))], "us-east")], {"two": [engines["acme/two"]]})
    routes = [
        model("acme/one", pools=pools("one"), usageOption="continuous_usage_stats"),
        model("acme/two", pools=[], fallback=["us-east"]),
    ]
    remote = [{"region": "us-east", "url": f"http://127.0.0.1:{us.port}"}]
    eu.publish([table(routes, remoteGateways=remote)], {"one": [engines["acme/one"]]})
    yield gateways
    for gateway in gateways.values():
        gateway.stop()


def lines(gateway: Gateway) -> list[dict[str, Any]]:
    whole, _, _ = gateway.output.read_text().rpartition("\n")
    return [json.loads(text) for text in whole.splitlines()]


Samples = dict[tuple[str, frozenset[str]], float]


def samples(gateway: Gateway) -> Samples:
    """Values by name and labels, each `key=value`; without the histograms' buckets."""
    return {
        (name, frozenset(f"{key}={text}" for key, text in re.findall(r'(\w+)="([^"]*)"', labels))): float(value)
        for name, labels, value in SAMPLE.findall(gateway.admin("/stats/prometheus?filter=tomoul"))
        if not name.endswith("_bucket")
    }


def total(found: Samples, name: str, *labels: str) -> float:
    return sum(value for (metric, of), value in found.items() if metric == name and set(labels) <= of)


def test_every_token_of_a_thousand_mixed_calls_is_in_the_lines_and_in_the_metrics(
    gateways: dict[str, Gateway],
) -> None:
    eu, us = gateways["eu-west"], gateways["us-east"]
    plan = planned(CALLS)

    def send(item: Planned) -> int:
        return call(eu.port, body=item.body, headers=[("x-tomoul-region", item.pin)] if item.pin else []).status

    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(send, plan)) == [200 if item.tokens else 400 for item in plan]

    forwarded = sum(item.model == "acme/two" for item in plan)
    eventually(lambda: (len(lines(eu)), len(lines(us))) == (CALLS, forwarded))
    # docs/usage.md: one rule over the lines of all regions' gateways finds each call once.
    entries = [entry for entry in lines(eu) + lines(us) if entry["served"] != "region" or entry["code"]]
    found = samples(eu), samples(us)
    assert len(entries) == CALLS
    assert sum(total(each, "calls_total", "served=pool") for each in found) == CALLS
    assert total(found[0], "calls_total", "served=region", "region=us-east") == forwarded
    for name, region in HOMES.items():
        of_model = [item for item in plan if item.model == name]
        labels = f"model={name}", f"region={region}", "tenant=anonymous"
        told = Counter[str]()
        for item in of_model:
            told.update(dict(zip(TOKENS, item.tokens or (), strict=False)))
        for key in TOKENS:
            assert sum(entry[key] or 0 for entry in entries if entry["model"] == name) == told[key]
            assert sum(total(each, f"{key}_total", *labels) for each in found) == told[key]
            assert sum(total(each, f"{key}_total", f"model={name}") for each in found) == told[key], (
                "in no other region"
            )
        refused = sum(item.tokens is None for item in of_model)
        counted = [
            sum(
                total(each, "calls_total", *labels, "served=pool", f"status={status}", f"code={code}") for each in found
            )
            for status, code in ((200, ""), (400, "invalid_request"))
        ]
        assert counted == [len(of_model) - refused, refused]

    def histograms() -> list[float]:
        now = samples(eu), samples(us)
        return [sum(total(each, name) for each in now) for name in ("duration_ms_count", "ttft_ms_count")]

    streams = sum("stream" in item.body and item.tokens is not None for item in plan)
    eventually(lambda: histograms() == [CALLS, streams])  # Envoy adds them up every 5 s
    buckets = [line for line in eu.admin("/stats/prometheus").splitlines() if "_tomoul_duration_ms_bucket" in line]
    assert {f'{name}="' in line for line in buckets for name in ("model", "region", "tenant")} == {True}
    assert "Stats access logger" not in eu.log() + us.log()


def test_calls_that_name_no_model_are_counted_without_one_and_no_clients_text_becomes_a_label(
    gateways: dict[str, Gateway],
) -> None:
    eu = gateways["eu-west"]
    for path, body in (("/secret", None), ("/v1/chat/completions", {"model": "secret", "messages": [{}]})):
        call(eu.port, path, body=body)
    found = eventually(lambda: samples(eu))
    for code in ("not_found", "model_not_found"):
        assert total(found, "calls_total", "model=", f"code={code}", "status=404", "served=", "region=eu-west") == 1
    assert "secret" not in eu.admin("/stats/prometheus")


@pytest.mark.parametrize("is_stream", [False, True])
def test_no_engines_own_word_becomes_a_label_and_the_line_has_it(
    gateways: dict[str, Gateway], engines: dict[str, FakeEngine], is_stream: bool
) -> None:
    """Each word would be a series more, which Envoy keeps for as long as it runs."""
    eu = gateways["eu-west"]

    def refuse(request: Received) -> Sequence[Reply]:
        error = json.dumps({"error": {"message": "no", "code": f"own-{len(engines['acme/one'].received)}"}})
        return stream(f"data: {error}\n\n".encode()) if is_stream else reply(400, error.encode())

    engines["acme/one"].behave = refuse
    body = {"model": "acme/one", "messages": [{}], "stream": is_stream}
    for _ in range(3):
        call(eu.port, body=body)
    eventually(lambda: [line["code"] for line in lines(eu)] == ["own-1", "own-2", "own-3"])
    word = "engine_failed" if is_stream else "invalid_request"
    eventually(lambda: total(samples(eu), "calls_total", f"code={word}") == 3)
    assert "own-" not in eu.admin("/stats/prometheus")


def test_a_kubelets_probes_are_not_counted(gateways: dict[str, Gateway]) -> None:
    eu = gateways["eu-west"]
    assert call(eu.port, "/-/ready").status == 200
    call(eu.port, "/v1/models")
    found = eventually(lambda: samples(eu))
    assert total(found, "calls_total") == 1


def test_pinned_and_no_store_calls_are_counted_with_what_became_of_them(gateways: dict[str, Gateway]) -> None:
    eu = gateways["eu-west"]
    body = {"model": "acme/one", "messages": [{"role": "user", "content": "[1,1,1]"}]}

    def ask(*headers: tuple[str, str]) -> int:
        return call(eu.port, body=body, headers=headers).status

    pin, no_store = "x-tomoul-region", ("x-tomoul-cache", "no-store")
    assert [ask((pin, "eu-west")), ask((pin, "us-east")), ask((pin, "mars")), ask(no_store), ask()] == [
        200, 404, 400, 400, 200,
    ]  # fmt: skip
    found = eventually(lambda: samples(eu) if total(samples(eu), "calls_total") == 5 else {})
    assert total(found, "pinned_calls_total", "pin=eu-west", "status=200", "code=", "served=pool") == 1
    # us-east refused it: here it is a call that was forwarded, there it is one that was refused.
    assert total(found, "pinned_calls_total", "pin=us-east", "served=region") == 1
    other = samples(gateways["us-east"])
    assert total(other, "pinned_calls_total", "pin=us-east", "code=model_not_found", "served=") == 1
    assert total(found, "pinned_calls_total") == 2
    assert total(found, "calls_total", "code=unknown_region") == 1
    assert total(found, "no_store_calls_total", "model=acme/one", "code=cache_policy_unsatisfiable", "served=") == 1
    assert total(found, "no_store_calls_total") == 1
