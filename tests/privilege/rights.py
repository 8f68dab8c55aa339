"""Rights: what roles grant, one verb of one resource at a time, and which requests need them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Object = Mapping[str, Any]


class Request(NamedTuple):
    """What somebody asked the API server for, as authorizers see it."""

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str


class Right(NamedTuple):
    """One verb of one resource; empty `namespace` and `name` mean any."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def covers(self, request: Request) -> bool:
        """Whether the request is allowed by this right."""
        resource = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
        return (
            (self.verb, self.group, self.resource) == (request.verb, request.group, resource)
            and self.namespace in ("", request.namespace)
            and self.name in ("", request.name)
        )

    def rule(self) -> dict[str, list[str]]:
        """As a rule of a role."""
        names = {"resourceNames": [self.name]} if self.name else {}
        return {"apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb], **names}


def granted(objects: Iterable[Object], account: str) -> set[Right]:
    """What the bindings among `objects` give a ServiceAccount. Wildcards are refused."""
    listed = list(objects)
    roles = {(item["kind"], item["metadata"]["name"]): item for item in listed if item["kind"].endswith("Role")}
    found: set[Right] = set()
    for binding in listed:
        if binding["kind"].endswith("RoleBinding") and account in [entry["name"] for entry in binding["subjects"]]:
            role = roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]
            namespace = binding["metadata"].get("namespace", "") if binding["kind"] == "RoleBinding" else ""
            for rule in role["rules"]:
                found |= _rights(rule, namespace)
    return found


def _rights(rule: Object, namespace: str) -> set[Right]:
    assert "nonResourceURLs" not in rule, rule
    assert "*" not in (*rule["verbs"], *rule["apiGroups"], *rule["resources"]), f"a wildcard is never the least: {rule}"
    return {
        Right(verb, group, resource, namespace, name)
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def only_by(right: Right, rights: Iterable[Right], requests: Iterable[Request]) -> Request | None:
    """A request that no other of the rights allows, or None: then nobody would miss this one."""
    others = [other for other in rights if other != right]
    for request in sorted(requests):
        if right.covers(request) and not any(other.covers(request) for other in others):
            return request
    return None
