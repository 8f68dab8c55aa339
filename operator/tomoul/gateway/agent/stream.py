"""What one connected Envoy asked for, was sent and acknowledged, and what it should be sent next. No I/O.

State-of-the-world ADS. Clusters and listeners are always sent whole, since what is left out is removed; endpoints,
routes and extensions are sent by name, and only those that changed. The order makes before it breaks:

1. clusters, including those that only the old routes and extensions use; 2. endpoints; 3. listeners, when every
cluster is warm; 4. routes; 5. extensions, which name routes and clusters; 6. clusters again, without those that nothing
uses any more.

Envoy acknowledges clusters only when they are warm, and a modified cluster is warm only when its endpoints have been
sent again. Its renewed request for them cannot be told from an acknowledgement (same names, same nonce), so a change
of a cluster forgets that its endpoints were ever sent. The same goes for a listener, its routes and its extensions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tomoul.gateway.agent.configuration import Configuration
from tomoul.gateway.agent.messages import TypeUrl

WHOLE = (TypeUrl.CLUSTER, TypeUrl.LISTENER)
USERS = (TypeUrl.ROUTES, TypeUrl.EXTENSIONS)
"""What names clusters, and belongs to listeners."""


class Request(NamedTuple):
    """What Envoy says: a subscription, and perhaps an answer to the response of that nonce."""

    type_url: str
    names: Sequence[str]
    nonce: str = ""
    version: str = ""
    """The newest response version that Envoy accepted."""
    error: str | None = None


class Response(NamedTuple):
    """What Envoy is told."""

    type_url: TypeUrl
    version: str
    """Unlike a Configuration's, of this one response."""
    nonce: str
    resources: Sequence[bytes]


class Refusal(NamedTuple):
    """Envoy's answer to a version that it does not accept."""

    version: int
    type_url: TypeUrl
    message: str


class _InFlight(NamedTuple):
    response: Response
    target: int
    """Version of the Configuration that it is a part of."""
    names: frozenset[str]
    since: float
    """Time since when Envoy has answered nothing of this type, although there was something to answer."""


@dataclass
class _TypeState:
    subscribed: frozenset[str] | None = None
    """Names asked for; None before the first request, empty for "all"."""
    sent: dict[str, bytes] = field(default_factory=dict)
    told: bool = False
    """Whether `sent` is what Envoy was told last; even an empty set has to be told once."""
    in_flight: _InFlight | None = None
    confirmed: dict[str, bytes] = field(default_factory=dict)
    """What Envoy acknowledged last, of clusters."""


class EnvoyStream:
    """The state of one ADS stream."""

    def __init__(self, identity: str, now: Callable[[], float]) -> None:
        """`identity` makes nonces of different streams differ; `now` is the time in seconds."""
        self._identity = identity
        self._now = now
        self._sequence = 0
        self._types = {type_url: _TypeState() for type_url in TypeUrl}
        self._assignments: dict[str, str] = {}
        """ClusterLoadAssignment by cluster, for the clusters that Envoy may have."""
        self._endpoints: dict[str, bytes] = {}
        """Newest endpoints of those. A cluster that is no longer wanted still holds up the answer while it warms."""
        self.refusal: Refusal | None = None
        """The latest refusal; nothing more of that version is sent."""

    @property
    def silent_since(self) -> float | None:
        """Time since when Envoy has left something unanswered; None if it has answered everything."""
        return min((state.in_flight.since for state in self._types.values() if state.in_flight), default=None)

    def receive(self, request: Request) -> None:
        """Take in a request. Types that this server does not have are ignored."""
        if request.type_url not in self._types:
            return
        type_url = TypeUrl(request.type_url)
        state = self._types[type_url]
        names = frozenset(request.names)
        # What was dropped and is asked for again is new to Envoy, whatever it was sent before.
        for name in names ^ (state.subscribed or frozenset()):
            state.sent.pop(name, None)
        state.subscribed = names
        sent = state.in_flight
        if sent is None or request.nonce != sent.response.nonce:
            if sent and request.nonce:  # the answer to a response that a newer one has replaced
                state.in_flight = sent._replace(since=self._now())
            return
        state.in_flight = None
        # Where Envoy answers two responses at once, it adds the error of the first to the acceptance of the second.
        if request.error is None or request.version == sent.response.version:
            if type_url is TypeUrl.CLUSTER:
                state.confirmed = dict(state.sent)
                had = set(self._assignments.values())
                self._endpoints = {name: value for name, value in self._endpoints.items() if name in had}
            return
        # Envoy applies parts of what it refuses, so what it has now is unknown.
        state.told = False
        for name in sent.names:
            state.sent.pop(name, None)
            if type_url is TypeUrl.ENDPOINTS:
                self._endpoints.pop(name, None)
        self.refusal = Refusal(sent.target, type_url, request.error)

    def next_response(self, target: Configuration) -> Response | None:
        """The next response on the way to `target`, noted as sent; None while Envoy must answer first, or has all."""
        if self.refusal and self.refusal.version == target.version:
            return None
        clusters = self._clusters(target)
        if self._differs(TypeUrl.CLUSTER, clusters):
            return self._send_whole(TypeUrl.CLUSTER, clusters, target)
        endpoints = {**self._endpoints, **target.resources[TypeUrl.ENDPOINTS]}
        if changed := self._changed(TypeUrl.ENDPOINTS, endpoints):
            self._endpoints.update(changed)
            return self._send(TypeUrl.ENDPOINTS, changed, target)
        if not (self._settled(TypeUrl.CLUSTER, clusters) and self._has_all(TypeUrl.ENDPOINTS, target)):
            return None
        listeners = target.resources[TypeUrl.LISTENER]
        if self._differs(TypeUrl.LISTENER, listeners):
            return self._send_whole(TypeUrl.LISTENER, listeners, target)
        if not self._settled(TypeUrl.LISTENER, listeners):
            return None
        for type_url in USERS:
            if changed := self._changed(type_url, target.resources[type_url]):
                return self._send(type_url, changed, target)
            if not self._has_all(type_url, target):
                return None
        return None

    def has(self, target: Configuration) -> bool:
        """Whether Envoy has acknowledged all of `target` and nothing else."""
        return (
            all(self._settled(type_url, target.resources[type_url]) for type_url in WHOLE)
            and self._has_all(TypeUrl.ENDPOINTS, target)
            and all(self._has_all(type_url, target) for type_url in USERS)
        )

    def _clusters(self, target: Configuration) -> Mapping[str, bytes]:
        """The clusters of `target`, and until Envoy has what names them also those that Envoy acknowledged last."""
        wanted = target.resources[TypeUrl.CLUSTER]
        if all(self._has_all(type_url, target) for type_url in USERS):
            return wanted
        return {**self._types[TypeUrl.CLUSTER].confirmed, **wanted}

    def _differs(self, type_url: TypeUrl, wanted: Mapping[str, bytes]) -> bool:
        state = self._types[type_url]
        return state.subscribed is not None and not (state.told and state.sent == wanted)

    def _settled(self, type_url: TypeUrl, wanted: Mapping[str, bytes]) -> bool:
        state = self._types[type_url]
        return state.told and state.in_flight is None and state.sent == wanted

    def _changed(self, type_url: TypeUrl, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
        """What to send of a type that is sent by name: nothing while an answer is outstanding."""
        state = self._types[type_url]
        if state.in_flight is not None:
            return {}
        names = (state.subscribed or frozenset()) & wanted.keys()
        return {name: wanted[name] for name in sorted(names) if state.sent.get(name) != wanted[name]}

    def _has_all(self, type_url: TypeUrl, target: Configuration) -> bool:
        state, wanted = self._types[type_url], target.resources[type_url]
        return state.in_flight is None and all(
            state.sent.get(name) == wanted[name] for name in target.required(type_url)
        )

    def _send_whole(self, type_url: TypeUrl, wanted: Mapping[str, bytes], target: Configuration) -> Response:
        state = self._types[type_url]
        if type_url is TypeUrl.CLUSTER:
            # Those that Envoy's routes may still use are remembered as what they were when Envoy acknowledged them.
            old = (state.confirmed.keys() | wanted.keys()) - target.resources[TypeUrl.CLUSTER].keys()
            kept = {name: child for name, child in self._assignments.items() if name in old}
            self._assignments = {**kept, **target.assignments}
            self._endpoints.update(target.resources[TypeUrl.ENDPOINTS])
        for name, resource in wanted.items():
            if state.sent.get(name) != resource:
                self._forget_children(type_url, name, target)
        state.sent, state.told = {}, True
        return self._send(type_url, wanted, target)

    def _forget_children(self, type_url: TypeUrl, parent: str, target: Configuration) -> None:
        if type_url is TypeUrl.CLUSTER:
            self._types[TypeUrl.ENDPOINTS].sent.pop(self._assignments.get(parent, ""), None)
        else:
            for type_url, children in ((TypeUrl.ROUTES, target.routes), (TypeUrl.EXTENSIONS, target.extensions)):
                for name in children.get(parent, ()):
                    self._types[type_url].sent.pop(name, None)

    def _send(self, type_url: TypeUrl, resources: Mapping[str, bytes], target: Configuration) -> Response:
        self._sequence += 1
        state = self._types[type_url]
        state.sent.update(resources)
        response = Response(
            type_url,
            version=f"{target.version}.{self._sequence}",
            nonce=f"{self._identity}.{self._sequence}",
            resources=tuple(resources.values()),
        )
        since = state.in_flight.since if state.in_flight else self._now()
        state.in_flight = _InFlight(response, target.version, frozenset(resources), since)
        return response
