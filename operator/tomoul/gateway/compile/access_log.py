"""The access log: one line of JSON per call on Envoy's standard output, and the metrics; both by the filter's module.

docs/usage.md tells what a reader may rely on; filter/{line,metrics}.zig write it. Envoy's own loggers would look each
field up anew for the line and for every metric: as much work as all else that this gateway does for a small call.
"""

from typing import Any

from tomoul.gateway.compile.names import FILTER, TYPES

METRICS_NAMESPACE = "tomoul"
"""Envoy puts `envoy_tomoul_` before the names of the metrics."""


def access_log(region: str) -> list[dict[str, Any]]:
    """AccessLog entries of the gateway of `region`; a kubelet's probes are left out."""
    return [
        {
            "name": "envoy.access_loggers.dynamic_modules",
            "filter": {"not_health_check_filter": {}},
            "typed_config": {
                # Not by its own type, which Python's definitions of Envoy's do not have.
                "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
                "type_url": f"{TYPES}.extensions.access_loggers.dynamic_modules.v3.DynamicModuleAccessLog",
                "value": {
                    "dynamic_module_config": {"name": FILTER, "do_not_close": True},
                    "logger_name": FILTER,
                    "logger_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": region},
                },
            },
        }
    ]
