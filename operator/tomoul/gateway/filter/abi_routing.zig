//! The part of Envoy's dynamic module ABI that is about the choice of a cluster (see abi.zig).

const abi = @import("abi.zig");
const Buffer = abi.Buffer;

const raw = struct {
    extern fn envoy_dynamic_module_callback_cluster_specifier_get_request_header_value(*Routing, Buffer, *Buffer, usize, ?*usize) bool;
    extern fn envoy_dynamic_module_callback_cluster_specifier_get_cluster_host_count(*Routing, Buffer, u32, *usize, *usize, *usize) bool;
    extern fn envoy_dynamic_module_callback_cluster_specifier_set_cluster_name(*Routing, Buffer) void;
    extern fn envoy_dynamic_module_callback_cluster_specifier_set_timeout(*Routing, u64) void;
    extern fn envoy_dynamic_module_callback_cluster_specifier_set_idle_timeout(*Routing, u64) void;
    extern fn envoy_dynamic_module_callback_cluster_specifier_set_route_action_override(*Routing, Buffer) bool;
};

/// A route that is being chosen.
pub const Routing = opaque {
    /// The first value of a request's header.
    pub fn header(self: *Routing, name: []const u8) ?[]const u8 {
        var found: Buffer = undefined;
        const there = raw.envoy_dynamic_module_callback_cluster_specifier_get_request_header_value(self, .of(name), &found, 0, null);
        return if (there) found.slice() else null;
    }

    /// Whether a cluster has a host that could take a call.
    pub fn hasHost(self: *Routing, cluster: []const u8) bool {
        var counts: [3]usize = .{ 0, 0, 0 }; // all, healthy, degraded
        const known = raw.envoy_dynamic_module_callback_cluster_specifier_get_cluster_host_count(self, .of(cluster), 0, &counts[0], &counts[1], &counts[2]);
        return known and counts[1] + counts[2] > 0;
    }

    pub fn setCluster(self: *Routing, cluster: []const u8) void {
        raw.envoy_dynamic_module_callback_cluster_specifier_set_cluster_name(self, .of(cluster));
    }

    pub fn setTimeouts(self: *Routing, request_seconds: u64, idle_seconds: u64) void {
        raw.envoy_dynamic_module_callback_cluster_specifier_set_timeout(self, request_seconds * 1000);
        raw.envoy_dynamic_module_callback_cluster_specifier_set_idle_timeout(self, idle_seconds * 1000);
    }

    /// By which of the configured policies the call is tried again; false if there is none of that name.
    pub fn setRetries(self: *Routing, policy: []const u8) bool {
        return raw.envoy_dynamic_module_callback_cluster_specifier_set_route_action_override(self, .of(policy));
    }
};
