"""What is said of a resource that is being deleted and that a finalizer keeps."""

from tests.plan.specs import world
from tomoul.api.meta import Condition
from tomoul.api.tenant import TenantStatus
from tomoul.plan.events import events
from tomoul.plan.going import going_region, going_tenant
from tomoul.plan.region import plan_region


def test_a_region_that_is_being_deleted_is_not_ready_and_its_other_conditions_say_what_was_so_last() -> None:
    before = plan_region(world(), "eu-west").status
    after = going_region(before, 7)
    told = {entry.type: entry for entry in after.conditions}
    assert (told["Ready"].status, told["Ready"].reason, told["Ready"].observed_generation) == (
        "False",
        "BeingDeleted",
        7,
    )
    assert "`metadata.finalizers`" in told["Ready"].message
    assert told["GatewaysReady"] in before.conditions
    assert going_region(after, 7) == after


def test_that_something_ends_as_it_was_asked_to_is_an_event_and_no_warning() -> None:
    enforced = Condition(type="Enforced", status="True", reason="Enforced")
    before = TenantStatus(conditions=(enforced,), reason="Enforced")
    (event,) = events(before, going_tenant(before, 2))
    assert (event.type, event.reason) == ("Normal", "BeingDeleted")
