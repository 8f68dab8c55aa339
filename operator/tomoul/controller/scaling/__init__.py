"""Scaling: the calls that gateways have in flight, told to autoscalers; pools without a replica are woken by them."""
