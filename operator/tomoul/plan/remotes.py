"""Remotes: how a region's gateways reach those of other regions."""

from tomoul.api.region import RegionState
from tomoul.api.routingtable import RemoteGateway
from tomoul.plan.naming import gateway_name
from tomoul.plan.unreadable import frozen_gateways
from tomoul.plan.world import World


def remote_gateways(world: World, region: str) -> tuple[RemoteGateway, ...]:
    """Gateways of all other regions that are not Disabled and that can be reached from `region`, by region."""
    found = []
    for name, other in sorted(world.regions.items()):
        if name == region or other.spec.state is RegionState.DISABLED:
            continue
        if world.settings.hosts(name):
            url = f"http://{gateway_name(name)}.{world.settings.namespace}.svc:80"
            found.append(RemoteGateway(region=name, url=url))
        elif other.spec.endpoint is not None:
            endpoint = other.spec.endpoint
            found.append(RemoteGateway(region=name, url=endpoint.url, ca_bundle=endpoint.ca_bundle))
    found += frozen_gateways(world, region)
    return tuple(sorted(found, key=lambda gateway: gateway.region))
