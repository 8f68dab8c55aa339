"""The data plane: RoutingTable and ready endpoints compiled to Envoy resources, and the agent that serves them."""
