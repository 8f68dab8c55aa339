"""Converge: make the children of an owner what a plan wants, with no request for what is so already."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from tomoul.api.meta import LABEL_REGION
from tomoul.controller.children import HASH_ANNOTATION, SCALE_MANAGER, Child, parsed_fields
from tomoul.controller.fields import owns, rendered_hash
from tomoul.controller.observed import Observed
from tomoul.controller.writer import Writer
from tomoul.kube.errors import Conflict, Forbidden, InternalError, Invalid, KubeError, NotFound, WebhookAway
from tomoul.kube.resources import (
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    LEADER_WORKER_SETS,
    ROUTING_TABLES,
    SCALED_OBJECTS,
    Resource,
    key_of,
    resource_of,
)
from tomoul.plan.world import DeploymentFact, Key, Manifest

_AUTOSCALERS = (HORIZONTAL_POD_AUTOSCALERS, SCALED_OBJECTS)
_SCALED = (DEPLOYMENTS, LEADER_WORKER_SETS)
REFUSALS = (Invalid, Forbidden, WebhookAway)
"""What the API server answers where it takes none of an object, as long as something else stays as it is."""
PASSING = (InternalError, NotFound, Conflict)
"""What it answers of one object, which the next attempt may get, or not. Other errors are those of all objects."""
NAMESPACE_ENDS = "because it is being terminated"
"""What the API server says of a namespace that nothing may be added to any more."""


_CHANGED = "is changed by somebody else as often as it is repaired: `kubectl get --show-managed-fields` tells whom"
_TURNED = "is applied otherwise as often as it is repaired, by another operator of Tomoul with other settings"
_DELETED = "is deleted by somebody else as often as it is made: the API server's audit log tells whom"

TOLD_AFTER = 3
"""Attempts in vain, in about four seconds, after which a condition tells of what may yet pass."""


class NotYetError(Exception):
    """Something has to go first; worth another look in a second."""


class LateError(NotYetError):
    """One object has to wait, perhaps for long; others need not."""


class BeingDeletedError(LateError):
    """An object is being deleted that is to be there. Somebody's finalizer may keep it."""


class ContestedError(LateError):
    """Somebody else changes an object back as often as it is repaired."""


class Refused(Exception):  # noqa: N818 - what the API server did, not a fault of ours
    """The API server refuses objects, or an admission webhook that is away has it do so: the words for a condition."""

    def __init__(self, by_region: Mapping[str, str], passing: KubeError | None = None) -> None:
        super().__init__("; ".join(by_region.values()))
        self.by_region = by_region
        """What it said, by the region that the objects are for."""
        self.passing = passing
        """One of the errors if all of them may pass by themselves; None if some will not."""


def is_told(error: KubeError | None, attempts: int) -> bool:
    """Whether what passes, or does not if it is None, is worth a condition after so many attempts in vain.

    What is over in a moment would only flicker.
    """
    return not isinstance(error, PASSING) or isinstance(error, WebhookAway) or attempts >= TOLD_AFTER


async def converge(
    observed: Observed,
    writer: Writer,
    owner_uid: str,
    objects: Sequence[Manifest],
    keep: AbstractSet[str] = frozenset(),
    still_serving: AbstractSet[tuple[str, str]] = frozenset(),
    *,
    planned: bool = False,
) -> bool:
    """Apply `objects`, then delete the owner's other children, RoutingTables and those of the regions `keep` apart.

    Of these also stay those that are `still_serving`, by kind and name.

    Autoscalers that are not wanted go first: they would fight with what takes their place. An object that is refused,
    that the API server fails to make, or that has to wait, does not keep the others from being applied. Returns whether
    anything was asked of the API server; `planned` as in `Writer.apply`. Raises KubeError, NotYetError, or LateError or
    Refused after all others are done.
    """
    refusals: dict[str, list[str]] = {}
    errors: list[KubeError] = []
    away: dict[Resource, WebhookAway] = {}
    late: list[LateError] = []
    wanted = {(resource_of(manifest), key_of(manifest)) for manifest in objects}
    unwanted = [
        (resource, key)
        for resource, key in _unwanted(observed, owner_uid, wanted, keep)
        if (resource.kind, key.name) not in still_serving
    ]
    wrote = bool(unwanted)

    def refuse(region: str, resource: Resource, key: Key, error: KubeError) -> None:
        refusals.setdefault(region, []).append(f"{resource.kind} `{key.name}`: {error}")
        errors.append(error)

    async def clear(*, autoscalers: bool) -> None:
        for resource, key in unwanted:
            if (resource in _AUTOSCALERS) == autoscalers and (live := observed.child(resource, key)) is not None:
                try:
                    await remove(observed, writer, resource, key)
                except (*REFUSALS, *PASSING) as error:
                    refuse(live.parent.region, resource, key, error)

    await clear(autoscalers=True)
    for manifest in objects:
        resource, key = resource_of(manifest), key_of(manifest)
        region = manifest["metadata"].get("labels", {}).get(LABEL_REGION, "")
        if not observed.is_listed(resource):
            # Once it is known what there is of the kind, the owner comes again.
            if why := observed.unlisted(resource):
                refuse(region, resource, key, InternalError(f"what there is of its kind cannot be listed: {why}"))
            continue
        if resource in away:  # it is waited for up to 30 s each time, and would keep the workers from all else
            refuse(region, resource, key, away[resource])
            continue
        try:
            wrote |= await ensure(observed, writer, owner_uid, manifest, planned=planned)
        except LateError as reason:
            late.append(reason)
        except (*REFUSALS, *PASSING) as error:
            if NAMESPACE_ENDS in str(error):
                raise NotYetError(f"namespace {key.namespace} is being deleted") from error
            refuse(region, resource, key, error)
            if isinstance(error, WebhookAway):
                away[resource] = error
    await clear(autoscalers=False)
    if refusals:
        lasts = not all(isinstance(error, PASSING) for error in errors)
        by_region = {region: "; ".join(words) for region, words in refusals.items()}
        raise Refused(by_region, None if lasts else min(errors, key=lambda error: not isinstance(error, WebhookAway)))
    if late:
        raise late[0]
    return wrote


def _unwanted(
    observed: Observed, owner_uid: str, wanted: AbstractSet[tuple[Resource, Key]], keep: AbstractSet[str]
) -> list[tuple[Resource, Key]]:
    found = []
    for resource, key in sorted(observed.children(owner_uid) - wanted, key=lambda child: (child[0].kind, child[1])):
        live = observed.child(resource, key)
        if resource != ROUTING_TABLES and live is not None and live.parent.region not in keep:
            found.append((resource, key))
    return found


async def ensure(
    observed: Observed, writer: Writer, owner_uid: str, manifest: Manifest, *, planned: bool = False
) -> bool:
    """Apply one object unless the live one already has all of it from us; an empty `owner_uid` means no owner.

    Returns whether it was applied. `planned` as in `Writer.apply`.
    """
    resource, key = resource_of(manifest), key_of(manifest)
    stamp = rendered_hash(manifest)
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), HASH_ANNOTATION: stamp}
    stamped = {**manifest, "metadata": {**metadata, "annotations": annotations}}
    live = observed.child(resource, key)
    if live is not None:
        if live.deleting:
            raise BeingDeletedError(f"{resource.kind} {key.name} is being deleted")
        if live.owner_uid and live.owner_uid != owner_uid:
            if not live.hash:
                raise Invalid(f"another owner controls it (uid {live.owner_uid}), and it was not made by this operator")
            # A former owner of the same name: Kubernetes is about to delete it, and two cannot both control it.
            await writer.delete(resource, key, live.uid)
            raise NotYetError(f"{resource.kind} {key.name} belongs to an owner that is gone")
        if live.owner_uid == owner_uid and live.hash == stamp:
            if owns(parsed_fields(live), stamped):
                return False
            _contest(writer, resource, key, writer.contests.wait(resource, key), _CHANGED)
        elif live.hash:
            _contest(writer, resource, key, writer.contests.turn(resource, key, stamp), _TURNED)
        if resource in _SCALED:
            await _hand_over_replicas(writer, live, stamped)
    elif observed.was_there(resource, key):
        _contest(writer, resource, key, writer.contests.wait(resource, key), _DELETED)
    await writer.apply(stamped, planned=planned)
    return True


def _contest(writer: Writer, resource: Resource, key: Key, wait: float, how: str) -> None:
    """Raise ContestedError where a repair has to wait."""
    if wait:
        writer.metrics.contested.labels(resource.kind).inc()
        raise ContestedError(f"{resource.kind} {key.name} {how}; it is repaired again in {wait:.0f} s")


async def _hand_over_replicas(writer: Writer, live: Child[DeploymentFact], manifest: Manifest) -> None:
    """Keep the scale of what has replicas where we stop to set them.

    A field that its last owner drops falls back to its default, which is one pod, until an autoscaler acts.
    """
    if "replicas" in manifest["spec"] or "f:replicas" not in parsed_fields(live).get("f:spec", {}):
        return
    identity = {name: manifest["metadata"][name] for name in ("name", "namespace")}
    scale = {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": identity,
        "spec": {"replicas": live.fact.replicas},
    }
    await writer.apply(scale, manager=SCALE_MANAGER)


async def remove(observed: Observed, writer: Writer, resource: Resource, key: Key) -> None:
    """Delete a child, if there is one that is not being deleted already."""
    live = observed.child(resource, key)
    if live is not None and not live.deleting:
        await writer.delete(resource, key, live.uid)
