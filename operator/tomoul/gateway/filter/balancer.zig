//! The load balancer of pools whose calls stay where their beginning is cached, as Envoy sees it. loads.zig picks.

const std = @import("std");
const abi = @import("abi.zig");
const abi_hosts = @import("abi_hosts.zig");
const loads = @import("loads.zig");
const guard = @import("guard.zig");
const monotonic = @import("call.zig").monotonic;

/// One worker's.
const Balancer = struct {
    /// The hosts that can be picked, and where Envoy has them: among all, and among the healthy ones.
    entries: std.ArrayListUnmanaged(Entry) = .{},
    candidates: []loads.Candidate = &.{},
    stale: bool = true,

    const Entry = struct { host: *loads.Host, among_all: usize, among_healthy: u32 };
    const allocator = std.heap.c_allocator;

    fn create() !*Balancer {
        const self = try allocator.create(Balancer);
        self.* = .{};
        return self;
    }

    fn destroy(self: *Balancer) !void {
        self.forget();
        self.entries.deinit(allocator);
        allocator.free(self.candidates);
        allocator.destroy(self);
    }

    fn choose(self: *Balancer, hosts: *abi_hosts.Hosts, context: ?*abi_hosts.Choice) !?u32 {
        if (self.stale) try self.refresh(hosts);
        const beginning = if (context) |choice| choice.hash() else null;
        for (self.entries.items, self.candidates) |entry, *candidate| {
            candidate.* = .{
                .host = entry.host,
                .begun = hosts.stat(entry.among_all, .requests_begun),
                .calls = hosts.stat(entry.among_all, .requests_active),
                .tried = if (context) |choice| choice.hasTried(hosts, entry.among_all) else false,
            };
        }
        const picked = loads.registry.take(self.candidates, beginning, monotonic()) orelse return null;
        return self.entries.items[picked].among_healthy;
    }

    fn refresh(self: *Balancer, hosts: *abi_hosts.Hosts) !void {
        const before = self.entries;
        self.entries = .{};
        defer {
            var old: Balancer = .{ .entries = before };
            old.forget();
            old.entries.deinit(allocator);
        }
        const pool = hosts.cluster();
        var among_healthy: u32 = 0;
        for (0..hosts.count()) |among_all| {
            if (!hosts.isHealthy(among_all)) continue;
            try self.entries.ensureUnusedCapacity(allocator, 1);
            const host = try loads.registry.hold(pool, hosts.address(among_all));
            self.entries.appendAssumeCapacity(.{ .host = host, .among_all = among_all, .among_healthy = among_healthy });
            among_healthy += 1;
        }
        self.candidates = try allocator.realloc(self.candidates, self.entries.items.len);
        self.stale = false;
    }

    fn forget(self: *Balancer) void {
        for (self.entries.items) |entry| loads.registry.release(entry.host);
        self.entries.clearRetainingCapacity();
    }
};

/// Configurations hold nothing; this stands for each.
var configuration: u8 = 0;

export fn envoy_dynamic_module_on_lb_config_new(_: *anyopaque, _: abi.Buffer, _: abi.Buffer) ?*anyopaque {
    return &configuration;
}

export fn envoy_dynamic_module_on_lb_config_destroy(_: *anyopaque) void {}

export fn envoy_dynamic_module_on_lb_new(_: *anyopaque, _: *abi_hosts.Hosts) ?*Balancer {
    return guard.guarded("balancer", Balancer.create, .{});
}

export fn envoy_dynamic_module_on_lb_destroy(balancer: *Balancer) void {
    _ = guard.guarded("balancer's end", Balancer.destroy, .{balancer});
}

/// Also called where only a host's health has changed.
export fn envoy_dynamic_module_on_lb_on_host_membership_update(_: *abi_hosts.Hosts, balancer: *Balancer, _: usize, _: usize) void {
    balancer.stale = true;
}

/// False where no host can take the call.
export fn envoy_dynamic_module_on_lb_choose_host(hosts: *abi_hosts.Hosts, balancer: *Balancer, context: ?*abi_hosts.Choice, priority: *u32, index: *u32) bool {
    const chosen = guard.guarded("choice of a host", Balancer.choose, .{ balancer, hosts, context }) orelse return false;
    priority.* = 0; // pools have no other
    index.* = chosen orelse return false;
    return true;
}
