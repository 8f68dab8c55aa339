"""RoutingTable + ready endpoints → Envoy resources. Pure; one Envoy noun per module."""
