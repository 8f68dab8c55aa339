//! Hooks that Envoy looks for in every module and that this one has no use for.

const names = [_][]const u8{
    "config_http_callout_done",
    "config_http_stream_complete",
    "config_http_stream_data",
    "config_http_stream_headers",
    "config_http_stream_reset",
    "config_http_stream_trailers",
    "downstream_above_write_buffer_high_watermark",
    "downstream_below_write_buffer_low_watermark",
    "http_callout_done",
    "http_stream_complete",
    "http_stream_data",
    "http_stream_headers",
    "http_stream_reset",
    "http_stream_trailers",
    "per_route_config_destroy",
    "per_route_config_new",
};

/// Ignores its arguments, which C's calling convention allows, and answers null where an answer is wanted.
fn nothing() callconv(.c) ?*anyopaque {
    return null;
}

comptime {
    for (names) |name| @export(&nothing, .{ .name = "envoy_dynamic_module_on_http_filter_" ++ name });
}
