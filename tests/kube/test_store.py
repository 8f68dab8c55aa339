from typing import Any

from tests.kube.objects import service
from tomoul.kube.resources import SERVICES
from tomoul.kube.store import Change, Store
from tomoul.plan.world import Key

A = Key("default", "a")


def store_of_uids() -> tuple[Store[str], list[Change[str]]]:
    changes: list[Change[str]] = []
    return Store(SERVICES, lambda item: item["metadata"]["uid"], listener=changes.append), changes


def test_an_older_version_does_not_overwrite_a_newer_one() -> None:
    store, _ = store_of_uids()
    store.put(service("a", 7, uid="second"))
    store.put(service("a", 5, uid="first"))
    assert store[A] == "second"


def test_the_late_deletion_of_a_former_object_of_the_name_is_ignored() -> None:
    store, _ = store_of_uids()
    store.put(service("a", 7, uid="second"))
    store.remove(service("a", 6, uid="first"))
    assert store[A] == "second"


def test_an_answer_that_arrives_after_the_deletion_does_not_bring_the_object_back() -> None:
    store, _ = store_of_uids()
    store.remove(service("a", 6))
    store.put(service("a", 5))
    assert A not in store
    assert len(store) == 0


def test_the_listener_hears_whether_what_matters_has_changed() -> None:
    changes: list[Change[dict[str, Any]]] = []
    store = Store(
        SERVICES,
        lambda item: item["metadata"],
        trigger=lambda metadata: metadata.get("labels"),
        listener=changes.append,
    )
    store.put(service("a", 1))
    store.put(service("a", 2, annotations={"x": "y"}))
    store.put(service("a", 3, labels={"x": "y"}))
    store.put(service("a", 3, labels={"x": "y"}))
    store.remove(service("a", 4))
    assert [change.relevant for change in changes] == [True, False, True, True]


def test_only_a_list_takes_a_version_back_and_not_for_what_was_seen_since_it_began() -> None:
    store, _ = store_of_uids()
    store.put(service("a", 9, uid="lost"))
    began = store.tick()
    store.put(service("b", 9, uid="seen since"))
    store.replace(service("a", 3, uid="restored"), began)
    store.replace(service("b", 3, uid="restored"), began)
    assert dict(store) == {A: "restored", Key("default", "b"): "seen since"}


def test_iteration_and_length_leave_out_what_was_deleted() -> None:
    store, _ = store_of_uids()
    store.put(service("a", 1))
    store.put(service("b", 2))
    store.remove(service("a", 3))
    assert list(store) == [Key("default", "b")]
    assert len(store) == 1


def test_what_only_lists_have_told_counts_as_missed_by_the_watch_unless_it_tells_it_before_the_next_list() -> None:
    store, _ = store_of_uids()
    for name in ("same", "late", "missed", "gone"):
        store.put(service(name, 1))
    began = store.tick()
    for name, version in (("same", 1), ("late", 2), ("missed", 2), ("new", 2)):
        store.replace(service(name, version), began)
    store.drop(Key("default", "gone"), began)
    store.put(service("late", 2))
    store.forget_deleted(began)
    assert store.take_missed() == 3
    assert store.take_missed() == 0
    store.drop(Key("default", "new"), store.tick())
    store.forget_deleted(store.tick())
    assert store.take_missed() == 0, "nobody asks in an agent, which must not remember names for ever"
