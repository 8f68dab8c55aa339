//! Where each try of a call goes. Envoy asks as it routes a call, and again before it tries once more: a call that may go to
//! several clusters, an engine here and then other regions' gateways, goes through them in order.
//!
//! Not an aggregate cluster's work, since a try's headers depend on where it goes: another region's code as the pin, and who
//! may see the client's key. They are set here, before Envoy sends them.

const std = @import("std");
const abi = @import("abi.zig");
const abi_routing = @import("abi_routing.zig");
const documents = @import("document.zig");
const guard = @import("guard.zig");
const Call = @import("call.zig").Call;

/// As in routes.py.
const most_retries = 2;
/// As in listeners.py: how long a call may be idle whose route says nothing.
const usual_idle_seconds = 300;
const pool_prefix = "pool/";
const region_prefix = "region/";
/// What `x-tomoul-forwarded` ends with where a call that names no region falls back: other tries are made elsewhere.
pub const fallback_mark = ";fallback";

/// Whose headers a call has now.
pub const Dress = enum { client, engine, gateway };

/// The call of this thread that Envoy is made to route at this moment.
threadlocal var asking: ?*Call = null;

/// This worker's calls that may go elsewhere if a try fails, by their ids.
threadlocal var kept: std.StringHashMapUnmanaged(*Call) = .{};

/// Has Envoy route the call to the first of `call.clusters` that has a host.
pub fn begin(call: *Call) !void {
    if (call.clusters.len > 1) try keep(call);
    asking = call;
    defer asking = null;
    // Envoy takes up a route's idle time only as it finds the route, which is most of the work.
    if (timeoutsOf(call).idle_seconds == usual_idle_seconds) call.stream.chooseCluster() else call.stream.route();
}

fn timeoutsOf(call: *const Call) documents.Timeouts {
    return if (call.model) |model| model.timeouts else call.document.source.longest_timeouts;
}

fn keep(call: *Call) !void {
    const id = call.stream.header(.request, "x-request-id") orelse return;
    if (call.stream.header(.request, "authorization")) |key| call.key = try call.allocator().dupe(u8, key);
    call.request_id = try call.allocator().dupe(u8, id);
    try kept.put(std.heap.c_allocator, call.request_id.?, call);
}

pub fn forget(call: *const Call) void {
    const id = call.request_id orelse return;
    if (kept.get(id) == call) _ = kept.remove(id);
}

/// The next try's cluster: the next one in turn that has a host.
fn next(call: *Call, routing: *abi_routing.Routing) usize {
    const all = call.clusters;
    call.tries +|= 1;
    if (all.len == 1) return 0;
    // The last try is an empty pool's where nothing else is here: Envoy counts it there as a call that nobody took, which
    // is what wakes the pool.
    if (call.tries > most_retries) {
        if (emptyPool(all, routing)) |at| return at;
    }
    const start = if (call.tries == 1) 0 else call.at + 1;
    for (0..all.len) |step| {
        const at = (start + step) % all.len;
        if (routing.hasHost(all[at])) return at;
    }
    return emptyPool(all, routing) orelse 0; // Envoy answers that nothing is ready
}

/// The last pool, a canary's being the first; null where one has a host, or there is none.
fn emptyPool(all: []const []const u8, routing: *abi_routing.Routing) ?usize {
    var found: ?usize = null;
    for (all, 0..) |cluster, at| {
        if (!std.mem.startsWith(u8, cluster, pool_prefix)) continue;
        if (routing.hasHost(cluster)) return null;
        found = at;
    }
    return found;
}

/// Gives the call the headers that `cluster` is to see.
fn dressFor(call: *Call, cluster: []const u8) !void {
    const stream = call.stream;
    if (std.mem.startsWith(u8, cluster, region_prefix)) {
        if (call.dress == .engine) {
            if (call.key) |key| stream.setHeader(.request, "authorization", key);
        }
        stream.setHeader(.request, "x-tomoul-region", cluster[region_prefix.len..]);
        const mark = if (call.pin == null) fallback_mark else "";
        stream.setHeader(.request, "x-tomoul-forwarded", try std.mem.concat(call.allocator(), u8, &.{ call.document.source.region, mark }));
        call.dress = .gateway;
        return;
    }
    // No engine gets a client's key, or what only gateways tell each other.
    if (call.dress == .gateway) stream.removeHeader(.request, "x-tomoul-region");
    if (call.dress != .engine) {
        stream.removeHeader(.request, "authorization");
        if (call.dress == .gateway or call.was_forwarded) stream.removeHeader(.request, "x-tomoul-forwarded");
    }
    call.dress = .engine;
}

fn choose(call: *Call, routing: *abi_routing.Routing) !bool {
    call.at = next(call, routing);
    const cluster = call.clusters[call.at];
    try dressFor(call, cluster);
    routing.setCluster(cluster);
    const timeouts = timeoutsOf(call);
    routing.setTimeouts(timeouts.request_seconds, timeouts.idle_seconds);
    // Without a model this is another region's call, whose gateway's 503 is its answer, after retries of its own. One
    // that falls back here has its other tries at the gateway it comes from, so that both make no more than one would.
    return routing.setRetries(if (call.model == null or call.is_fallback) "elsewhere" else "here");
}

/// Configurations hold nothing; this stands for each.
var configuration: u8 = 0;

export fn envoy_dynamic_module_on_cluster_specifier_config_new(_: *anyopaque, _: abi.Buffer, _: abi.Buffer) ?*anyopaque {
    return &configuration;
}

export fn envoy_dynamic_module_on_cluster_specifier_config_destroy(_: *anyopaque) void {}

/// False where there is nothing to say: before the filter has seen the call, and where a call has one place to go.
export fn envoy_dynamic_module_on_cluster_specifier_select(_: *anyopaque, routing: *abi_routing.Routing) bool {
    const call = asking orelse kept.get(routing.header("x-request-id") orelse return false) orelse return false;
    return guard.guarded("cluster specifier", choose, .{ call, routing }) orelse false;
}
