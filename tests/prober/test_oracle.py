"""The prober itself: what it has to notice, it notices."""

import time
from typing import Any

import pytest

from tests.prober.disturbances import Window, pinned_to
from tests.prober.judge import Answered, Asked, fault_of
from tests.prober.verdict import problems_of
from tests.prober.world import Calling, Platform

FACTS = {"pod": "a", "region": "eu-west", "pool": "default", "caches": True, "cached": 0, "tokens": 9}


def asked(**fields: Any) -> Asked:
    usual = {"gateway": "eu-west", "region": "eu-west", "no_store": False, "tenant": "acme", "model": "m"}
    return Asked(**{**usual, "not_stored": False, **fields})


def answered(region: str = "eu-west", cached: int | None = 0, **facts: Any) -> Answered:
    return Answered(200, region, "", cached, {**FACTS, **facts})


def hit() -> Answered:
    return Answered(200, "eu-west", "", 9, {**FACTS, "cached": 9})


@pytest.mark.parametrize(
    ("question", "answer", "seen", "fault"),
    [
        (asked(), answered(), (), ""),
        (asked(), answered(cached=9), ("a",), "cache: the engine had 0"),
        (asked(), answered(cached=9), (), "cache: the engine had 0"),
        (asked(), hit(), ("a",), ""),
        (asked(), hit(), (), "cache: 9 cached"),
        (asked(), hit(), ("b",), "cache: 9 cached"),
        (asked(), answered(), ("a",), "cache: 0 cached"),
        (asked(no_store=True), hit(), ("a",), "cache: 9 cached"),
        (asked(no_store=True), answered(), ("a",), ""),
        (asked(no_store=True, not_stored=True), answered(), (), "pool: default"),
        (asked(no_store=True, not_stored=True), answered(pool="no-store", caches=False), (), ""),
        (asked(), answered(pool="no-store", caches=False), (), "pool: no-store"),
        (asked(region="us-east"), answered(), (), "region: eu-west"),
        (asked(region="us-east"), answered("us-east"), (), "region: eu-west"),
        (asked(), answered("us-east"), (), "region: eu-west"),
        (asked(region=None), Answered(200, "us-east", "", 0, {**FACTS, "region": "us-east"}), (), ""),
        (asked(region=None), answered("us-east"), (), "region: eu-west"),
        (asked(), Answered(200, "eu-west"), (), "an answer that no engine gave"),
        (asked(), Answered(503, "eu-west", "region_capacity_unavailable"), (), ""),
        (asked(), Answered(503), (), "a refusal without a code"),
        (asked(), Answered(0), (), ""),
    ],
)
def test_a_reply_is_judged_by_what_was_asked(question: Asked, answer: Answered, seen: Any, fault: str) -> None:
    found = fault_of(question, answer, seen)
    assert found.startswith(fault) if fault else found == ""


def report(**fields: Any) -> dict[str, Any]:
    kinds = {"pinned": 5000, "unpinned": 2000, "pinned no-store": 2000, "unpinned no-store": 1000}
    seconds = [[second, 500] for second in range(100, 121)]
    usual = {"calls": 10000, "wrong": 0, "faults": [], "hits": 3000, "kinds": kinds, "seconds": seconds}
    return {**usual, "refused": [], "away": [], **fields}


def test_a_run_is_void_below_its_rate_or_where_it_proves_little() -> None:
    assert problems_of(report(), [], 400) == []
    assert "void" in problems_of(report(), [], 600)[0]
    pause = [[second, 900 if second < 110 else 0] for second in range(100, 122)]
    assert any("from 111 on" in each for each in problems_of(report(seconds=pause), [], 400))
    assert "void" in problems_of(report(hits=5), [], 400)[0]
    assert "void" in problems_of(report(kinds={"pinned": 10000}), [], 400)[0]
    assert "void" in problems_of(report(seconds=[]), [], 400)[0]


def test_refusals_need_a_window_that_explains_them() -> None:
    refused = [(110.0, "eu-west", "us-east", "m", 503, "region_capacity_unavailable")]
    window = Window("emptied", 109.0, 111.0, pinned_to("us-east"), away="us-east", needed=True)
    assert problems_of(report(refused=refused, away=[[110, "us-east", 3]]), [window], 400) == []
    assert "nothing explains" in problems_of(report(refused=refused), [], 400)[0]
    assert "nothing explains" in problems_of(report(refused=refused), [Window("other", 109, 111)], 400)[0]
    assert "went away" in problems_of(report(away=[[110, "us-east", 3]]), [], 400)[0]
    assert "nobody has noticed" in problems_of(report(), [window], 400)[0]


def probe(platform: Platform, seconds: float = 3.0) -> dict[str, Any]:
    with Calling(platform) as calling:
        time.sleep(seconds)
        calling.check()
    return calling.report


def test_an_endpoint_that_belongs_to_another_region_is_noticed(platform: Platform) -> None:
    assert probe(platform)["wrong"] == 0
    pods = platform.pods
    (pod,) = [name for name in pods.ports if name.startswith("steady-us-east-")]
    pods.lead("misled", platform.service("steady", "eu-west"), pods.ports[pod])
    try:
        found = probe(platform)
    finally:
        pods.unlead("misled")
    assert any(" region: us-east answered what eu-west was asked" in fault for fault in found["faults"]), found
    assert "wrong" in problems_of(found, [], 1)[0]
    time.sleep(1)
    assert probe(platform)["wrong"] == 0


def test_an_engine_that_shares_its_cache_among_tenants_is_noticed(platform: Platform) -> None:
    pods = platform.pods
    port = pods.order(start="deaf", region="eu-west", pool="default", caches=True, deaf=True)
    pods.lead("deaf", platform.service("steady", "eu-west"), port)
    try:
        found = probe(platform)
    finally:
        pods.unlead("deaf")
        time.sleep(1)
        pods.order(stop="deaf")
    assert any("cached tokens where 0 were to be expected" in fault for fault in found["faults"]), found
