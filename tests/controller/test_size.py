"""A RoutingTable that etcd would not take."""

from types import SimpleNamespace

import pytest

from tomoul.controller import size
from tomoul.controller.context import Context
from tomoul.controller.metrics import Metrics


def test_a_table_that_is_larger_than_one_object_may_be_is_not_sent_and_its_region_says_how_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(size, "LARGEST", 100)
    told: list[str] = []
    metrics, withheld = Metrics(), dict[str, str]()
    context: Context = SimpleNamespace(  # type: ignore[assignment]
        metrics=metrics,
        observed=SimpleNamespace(withheld=withheld),
        triggers=SimpleNamespace(withheld=told.append),
    )
    small = {"spec": {"models": [{"id": "a"}]}}
    assert size.fits(context, "eu", small)
    assert not withheld
    large = {"spec": {"models": [{"id": "a" * 30}, {"id": "b" * 60}]}}
    assert not size.fits(context, "eu", large)
    assert "with 2 models would have 131 bytes, and 100 are the most" in withheld["eu"]
    assert told == ["eu"]
    assert metrics.registry.get_sample_value("tomoul_tables_withheld_total", {"region": "eu"}) == 1
