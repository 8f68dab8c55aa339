"""What is counted of a canary's calls, from what gateways say."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tomoul.controller.canary_counts import Reading, Tally, readings_of
from tomoul.plan.world import CallCounts


def line(trial: str, answered_by: str, status: int, code: str, count: int, model: str = "acme/chat") -> str:
    labels = {
        "model": model,
        "region": "eu",
        "trial": trial,
        "answered_by": answered_by,
        "status": status,
        "code": code,
    }
    listed = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"envoy_tomoul_trial_calls_total{{{listed}}} {count}\n"


METRICS = (
    "# TYPE envoy_tomoul_trial_calls_total counter\n"
    + line("canary", "canary", 200, "", 80)
    + line("canary", "canary", 200, "invalid_request", 10)
    + line("canary", "canary", 400, "invalid_value", 4)
    + line("canary", "canary", 500, "server_error", 3)
    + line("canary", "canary", 200, "stream_broken", 2)
    + line("canary", "", 200, "", 1)
    + line("canary", "canary", 0, "", 50)
    + line("stable", "", 200, "", 1000)
    + line("stable", "", 503, "region_capacity_unavailable", 10)
    + line("stable", "", 200, "", 7, "acme/code")
    + """\
# TYPE envoy_tomoul_trial_ttft_ms histogram
envoy_tomoul_trial_ttft_ms_bucket{model="acme/chat",region="eu",trial="canary",le="0.5"} 0
envoy_tomoul_trial_ttft_ms_bucket{model="acme/chat",region="eu",trial="canary",le="+Inf"} 20
envoy_tomoul_trial_ttft_ms_sum{model="acme/chat",region="eu",trial="canary"} 1234.5
envoy_tomoul_trial_ttft_ms_count{model="acme/chat",region="eu",trial="canary"} 20
# TYPE envoy_tomoul_trial_computed_tokens_total counter
envoy_tomoul_trial_computed_tokens_total{model="acme/chat",region="eu",trial="canary"} 900
# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{model="acme/chat",trial="canary"} 5
"""
)


def test_a_canarys_failures_are_what_engines_do_and_what_other_pods_had_to_answer_for_it() -> None:
    found = readings_of(METRICS)
    assert found["acme/chat"].canary == CallCounts(
        calls=100, errors=6, refused=10 + 4, streams=20, ttft_milliseconds=1234, computed_tokens=900
    )
    assert found["acme/chat"].stable == CallCounts(calls=1010, errors=10)
    assert found["acme/chat"].missed == 1
    assert found["acme/code"].canary == CallCounts()


def test_a_gateway_without_such_calls_says_nothing() -> None:
    assert readings_of("") == {}


def reading(calls: int, errors: int = 0) -> Reading:
    return Reading(CallCounts(calls, errors), CallCounts(10 * calls))


def test_a_gateways_first_reading_is_where_counting_begins() -> None:
    tally = (
        Tally("abc", began=100, at=100).with_readings(110, {"a": reading(70)}).with_readings(120, {"a": reading(75)})
    )
    assert (tally.fact.canary.calls, tally.fact.stable.calls, tally.fact.seconds) == (5, 50, 20)
    assert tally.fact.revision == "abc"


def test_what_others_answer_for_a_canary_whose_endpoint_is_still_on_its_way_is_no_failure_of_its() -> None:
    def missed(calls: int, of_them: int) -> Reading:
        return Reading(CallCounts(calls, of_them), CallCounts(100), of_them)

    tally = Tally("abc", began=0, at=0).with_readings(0, {"a": missed(7, 7)})
    tally = tally.with_readings(10, {"a": missed(12, 9)})
    assert tally.fact.canary == CallCounts(calls=3)
    tally = tally.with_readings(20, {"a": missed(14, 10)})
    assert tally.fact.canary == CallCounts(calls=3 + 1)
    tally = tally.with_readings(30, {"a": missed(20, 12)})
    assert tally.fact.canary == CallCounts(calls=3 + 1 + 6, errors=2), "it had its time"


def test_a_gateway_that_begins_anew_counts_from_nothing() -> None:
    tally = Tally("abc", 0, 0)
    for count in (70, 75, 3, 4):
        tally = tally.with_readings(1, {"a": reading(count)})
    assert tally.fact.canary.calls == 5 + 3 + 1


def test_what_a_gateway_counted_while_it_could_not_be_read_is_not_lost() -> None:
    tally = Tally("abc", 0, 0)
    for answer in (reading(1), None, reading(9)):
        tally = tally.with_readings(1, {"a": answer, "b": reading(2)})
        assert tally.fact.unreadable == (("a",) if answer is None else ())
    assert tally.fact.canary.calls == 8


def test_gateways_that_come_and_go_take_nothing_back() -> None:
    tally = Tally("abc", 0, 0).with_readings(1, {"a": reading(1), "b": reading(5)})
    tally = tally.with_readings(2, {"a": reading(4), "b": reading(7)}).with_readings(3, {"a": reading(4)})
    tally = tally.with_readings(4, {"a": reading(5), "c": reading(100)})
    assert tally.fact.canary.calls == 3 + 2 + 1


steps = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 5), st.integers(0, 5)), max_size=30)


@settings(deadline=None)
@given(steps)
def test_counts_only_grow_and_errors_are_some_of_the_calls(found: list[tuple[str, int, int]]) -> None:
    calls: dict[str, CallCounts] = {"a": CallCounts(), "b": CallCounts(), "c": CallCounts()}
    tally = Tally("abc", 0, 0)
    for name, good, bad in found:
        before = tally.fact.canary
        calls[name] = CallCounts(calls[name].calls + good + bad, calls[name].errors + bad)
        tally = tally.with_readings(1, {gateway: Reading(count) for gateway, count in calls.items()})
        after = tally.fact.canary
        assert before.calls <= after.calls
        assert before.errors <= after.errors <= after.calls
