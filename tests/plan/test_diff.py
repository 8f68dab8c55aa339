from dataclasses import replace

from tests.plan.specs import KEY, model, region, world
from tomoul.plan.capacity import Demand
from tomoul.plan.diff import Action, FieldChange, GpuTotal, diff_worlds, field_changes


def test_entries_of_lists_go_by_their_names_and_others_by_their_places() -> None:
    old = {"containers": [{"name": "a", "image": "x"}, {"name": "b"}], "args": ["1", "2"]}
    new = {"containers": [{"name": "b"}, {"name": "a", "image": "y"}], "args": ["1", "3", "4"]}
    assert list(field_changes(old, new)) == [
        FieldChange("containers[a].image", "x", "y"),
        FieldChange("args[1]", "2", "3"),
        FieldChange("args[2]", None, "4"),
    ]


def test_a_field_that_appears_or_goes_has_no_value_on_the_other_side() -> None:
    assert list(field_changes({"a": 1}, {"b": {"c": 2}})) == [
        FieldChange("a", 1, None),
        FieldChange("b", None, {"c": 2}),
    ]


def test_a_region_that_starts_to_drain_changes_its_table_and_no_object_else() -> None:
    before = world(model())
    after = replace(before, regions={"eu-west": region("eu-west", state="Draining")})
    (diff,) = diff_worlds(before, after).regions
    assert [(change.action, change.kind, change.fields) for change in diff.objects] == [
        (Action.CHANGE, "RoutingTable", (FieldChange("spec.draining", False, True),))
    ]
    assert diff.routes == ()


def test_a_region_that_is_removed_takes_all_of_its_objects_with_it() -> None:
    before = world(model(), regions=(region("eu-west"), region("us-east")))
    after = replace(before, regions={"us-east": before.regions["us-east"]})
    found = {diff.region: diff for diff in diff_worlds(before, after).regions}
    assert {change.action for change in found["eu-west"].objects} == {Action.REMOVE}
    assert [(route.action, route.served) for route in found["eu-west"].routes] == [(Action.REMOVE, True)]
    assert [(route.action, route.served) for route in found["us-east"].routes] == [(Action.REMOVE, False)]


def test_gpus_are_counted_by_replicas_and_pools() -> None:
    fields = {"resources": {"accelerator": "nvidia-l4", "count": 4}, "cache": {"noStore": "NotStored"}}
    before = world(model(regions=[{"name": "eu-west", "replicas": 2, "noStoreReplicas": 1}], **fields))
    after = replace(before, models={KEY: model(regions=[{"name": "eu-west", "noStoreReplicas": 0}], **fields)})
    (diff,) = diff_worlds(before, after).regions
    assert diff.gpus == (GpuTotal("nvidia-l4", Demand(12, 12), Demand(4, 4)),)


def test_gpus_of_pools_that_scale_are_counted_from_the_fewest_to_the_most() -> None:
    fields = {"resources": {"accelerator": "nvidia-l4", "count": 2}, "cache": {"noStore": "NotStored"}}
    scaling = {"minReplicas": 2, "maxReplicas": 6, "targetInFlight": 8}
    from_none = {"minReplicas": 0, "maxReplicas": 1, "targetInFlight": 8}
    target = {"name": "eu-west", "scaling": scaling, "noStoreScaling": from_none}
    (diff,) = diff_worlds(world(), world(model(regions=[target], **fields))).regions
    assert diff.gpus == (GpuTotal("nvidia-l4", Demand(0, 0), Demand(4, 14)),)


def test_what_is_refused_goes_on_as_it_is_so_that_nothing_of_it_is_said_to_go() -> None:
    both = [{"name": "nvidia-l4"}, {"name": "b", "nodeSelector": {"gpu": "b"}}]
    regions = (region("eu-west"), region("us-east", placement={"accelerators": both}))
    two = [{"name": "eu-west", "replicas": 2}, {"name": "us-east", "replicas": 2}]
    before = world(model(regions=two, resources={"accelerator": "nvidia-l4", "count": 1}), regions=regions)
    refused = model(regions=two, resources={"accelerator": "b", "count": 1})
    eu, us = diff_worlds(before, replace(before, models={KEY: refused})).regions
    assert (eu.objects, eu.routes) == ((), ())
    assert eu.gpus == (GpuTotal("nvidia-l4", Demand(2, 2), Demand(2, 2)),)
    assert [(change.action, change.kind) for change in us.objects] == [(Action.CHANGE, "Deployment")]
    assert us.gpus == (GpuTotal("b", Demand(0, 0), Demand(2, 2)), GpuTotal("nvidia-l4", Demand(2, 2), Demand(0, 0)))
