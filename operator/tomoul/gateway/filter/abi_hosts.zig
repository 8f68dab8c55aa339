//! The part of Envoy's dynamic module ABI that is about load balancers (see abi.zig).

const abi = @import("abi.zig");
const Buffer = abi.Buffer;

const raw = struct {
    extern fn envoy_dynamic_module_callback_lb_get_cluster_name(*Hosts, *Buffer) void;
    extern fn envoy_dynamic_module_callback_lb_get_hosts_count(*Hosts, u32) usize;
    extern fn envoy_dynamic_module_callback_lb_get_host_health(*Hosts, u32, usize) HostHealth;
    extern fn envoy_dynamic_module_callback_lb_get_host_address(*Hosts, u32, usize, *Buffer) bool;
    extern fn envoy_dynamic_module_callback_lb_get_host_stat(*Hosts, u32, usize, HostStat) u64;
    extern fn envoy_dynamic_module_callback_lb_context_compute_hash_key(*Choice, *u64) bool;
    extern fn envoy_dynamic_module_callback_lb_context_should_select_another_host(*Hosts, *Choice, u32, usize) bool;
};

const HostHealth = enum(c_uint) { unhealthy, degraded, healthy };
pub const HostStat = enum(c_uint) { requests_begun = 5, requests_active = 7 };

/// The hosts of a load balancer's cluster, by their place among all of the first priority.
pub const Hosts = opaque {
    pub fn cluster(self: *Hosts) []const u8 {
        var found: Buffer = .of("");
        raw.envoy_dynamic_module_callback_lb_get_cluster_name(self, &found);
        return found.slice();
    }

    pub fn count(self: *Hosts) usize {
        return raw.envoy_dynamic_module_callback_lb_get_hosts_count(self, 0);
    }

    pub fn isHealthy(self: *Hosts, index: usize) bool {
        return raw.envoy_dynamic_module_callback_lb_get_host_health(self, 0, index) == .healthy;
    }

    pub fn address(self: *Hosts, index: usize) []const u8 {
        var found: Buffer = .of("");
        _ = raw.envoy_dynamic_module_callback_lb_get_host_address(self, 0, index, &found);
        return found.slice();
    }

    pub fn stat(self: *Hosts, index: usize, which: HostStat) u64 {
        return raw.envoy_dynamic_module_callback_lb_get_host_stat(self, 0, index, which);
    }
};

/// A host that is to be chosen for a call.
pub const Choice = opaque {
    /// What the route's hash policy makes of the call.
    pub fn hash(self: *Choice) ?u64 {
        var found: u64 = 0;
        return if (raw.envoy_dynamic_module_callback_lb_context_compute_hash_key(self, &found)) found else null;
    }

    /// Whether a retry of the call is to pass this host by.
    pub fn hasTried(self: *Choice, hosts: *Hosts, index: usize) bool {
        return raw.envoy_dynamic_module_callback_lb_context_should_select_another_host(hosts, self, 0, index);
    }
};
