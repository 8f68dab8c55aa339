"""A client of one region's gateways, as the world outside the cluster is."""

from dataclasses import dataclass
from typing import Any

import httpx

from e2e.cluster import Cluster, Object

SYSTEM = "tomoul-system"
CHAT = "tomoul/tiny-chat"
SOLO = "tomoul/tiny-solo"


@dataclass(frozen=True)
class Gateway:
    """The endpoint of a region's gateways, called over connections that are kept."""

    client: httpx.Client

    def chat(
        self, content: str, *, model: str = CHAT, region: str = "", no_store: bool = False, **fields: Any
    ) -> httpx.Response:
        """POST /v1/chat/completions, pinned to `region` if it is given; `fields` join the body."""
        headers = {"X-Tomoul-Region": region} if region else {}
        if no_store:
            headers["X-Tomoul-Cache"] = "no-store"
        body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 16, **fields}
        return self.client.post("/v1/chat/completions", json=body, headers=headers)

    def models(self) -> set[str]:
        """The ids that GET /v1/models lists."""
        return {model["id"] for model in self.client.get("/v1/models").json()["data"]}


def gateway_of(cluster: Cluster, region: str) -> Gateway:
    """The region's gateway by the node port of its Service: a node's address holds whatever happens to a pod."""
    selector = f"app.kubernetes.io/component=gateway,tomoul.ai/region={region}"
    (service,) = cluster.list("services", "-n", SYSTEM, "-l", selector)
    (port,) = [port["nodePort"] for port in service["spec"]["ports"] if port["name"] == "http"]
    return Gateway(httpx.Client(base_url=f"http://{cluster.node_address(region)}:{port}", timeout=30, trust_env=False))


def usage(response: httpx.Response) -> tuple[int, int]:
    """Completion tokens and cached prompt tokens of an answer."""
    assert response.status_code == 200, response.text
    counted: Object = response.json()["usage"]
    return counted["completion_tokens"], counted["prompt_tokens_details"]["cached_tokens"]
