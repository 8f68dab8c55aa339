//! Where a call goes: by its pin, its cache directive, its model and what its tenant may reach.

const std = @import("std");
const catalogue = @import("catalogue.zig");
const cluster_specifier = @import("cluster_specifier.zig");
const documents = @import("document.zig");
const errors = @import("errors.zig");
const salts = @import("salt.zig");
const Call = @import("call.zig").Call;
const Model = documents.Model;
const Refused = errors.Refused;
const refuse = errors.refuse;

/// Where a call may go: to any of the clusters, or to what its tenant may reach of the region's own pool and the model's
/// fallback regions.
pub const Targets = union(enum) { any: []const documents.Target, permitted: []const documents.Target };

/// Where the call may go and the salt to send, by the model's policy.
pub fn of(call: *Call, model: *const Model, buffer: *[salts.length]u8) Refused!struct { Targets, ?[]const u8 } {
    const pinned = call.pin != null;
    const no_store = std.mem.eql(u8, call.cache.?, "no-store");
    var targets = if (pinned) model.clusters.pinned else model.clusters.unpinned;
    var salt: ?[]const u8 = if (model.salt) |owner| switch (owner) {
        .tenant => call.tenant.?.salts.salt(model.id, buffer),
        .shared => call.document.shared_salts.salt(model.id, buffer),
    } else null;
    if (no_store) switch (model.no_store) {
        .as_is => {},
        .refuse => return refuse(call, 400, "cache_policy_unsatisfiable", .{ .param = "X-Tomoul-Cache" }, "The model `{s}` does not offer `no-store`; leave `X-Tomoul-Cache` out if the call may be cached", .{model.id}),
        .salt => salt = salts.random(buffer),
        .pool => {
            targets = if (pinned) model.clusters.no_store_pinned else model.clusters.no_store_unpinned;
            salt = null;
        },
    };
    if (targets.len > 0 and !pinned and !mayReachAll(call, model)) {
        const own_pool = no_store and model.no_store == .pool;
        return .{ .{ .permitted = if (own_pool) model.clusters.no_store_pinned else model.clusters.pinned }, salt };
    }
    if (targets.len > 0) return .{ .{ .any = targets }, salt };
    const region = call.document.source.region;
    if (model.clusters.pinned.len > 0)
        return errors.forCapacity(call, "The region `{s}` takes only calls that name it now", .{region});
    return refuse(call, 404, "model_not_available_in_region", .{
        .param = "model",
        .more = try catalogue.availableRegions(call, model.regions),
    }, "The model `{s}` is not available in the region `{s}`", .{ model.id, region });
}

/// Whether the call's tenant may reach this region and all fallback regions of the model.
fn mayReachAll(call: *Call, model: *const Model) bool {
    const tenant = call.tenant.?;
    if (tenant.regions == null) return true;
    for (model.fallback) |region| {
        if (!tenant.mayReach(region)) return false;
    }
    return tenant.mayReach(call.document.source.region);
}

/// Sends the call on its way.
pub fn send(call: *Call, targets: Targets, model: *const Model) Refused!void {
    switch (targets) {
        .any => |each| try take(call, choice(call, each)),
        .permitted => |pool| try sendToPermitted(call, model, pool),
    }
}

/// Sends a call that names no region, and whose tenant may not reach all that could answer, through those that it may reach.
fn sendToPermitted(call: *Call, model: *const Model, pool: []const documents.Target) Refused!void {
    const tenant, const document = .{ call.tenant.?, call.document };
    const here = pool.len > 0 and !document.source.draining and tenant.mayReach(document.source.region);
    var target: documents.Target = if (here) choice(call, pool) else .{ .clusters = &.{} };
    var permitted: std.ArrayListUnmanaged([]const u8) = .{};
    try permitted.appendSlice(call.allocator(), target.clusters);
    for (model.fallback) |name| {
        const cluster = if (document.regions.get(name)) |region| region.cluster orelse continue else continue;
        if (tenant.mayReach(name)) try permitted.append(call.allocator(), cluster);
    }
    target.clusters = permitted.items;
    if (target.clusters.len > 0) return take(call, target);
    const options: errors.Options = .{ .param = "X-Tomoul-Region", .more = try catalogue.availableRegions(call, model.regions) };
    for (model.regions) |region| {
        if (tenant.mayReach(region))
            return refuse(call, 403, "region_not_permitted", options, "The API key may not be used in the regions that would answer; name one that it may be used in", .{});
    }
    return refuse(call, 403, "region_not_permitted", options, "The API key may not be used in any region that has the model `{s}`", .{model.id});
}

fn take(call: *Call, target: documents.Target) Refused!void {
    call.trial = target.trial;
    call.clusters = target.clusters;
    try cluster_specifier.begin(call);
}

/// Sends the call to another region's gateways.
pub fn sendTo(call: *Call, cluster: []const u8) Refused!void {
    const only = try call.allocator().alloc([]const u8, 1);
    only[0] = cluster;
    try take(call, .{ .clusters = only });
}

/// What a call gets of the targets. One that falls back has a single try here, and may not meet a canary that is full.
fn choice(call: *const Call, targets: []const documents.Target) documents.Target {
    return if (call.is_fallback) targets[targets.len - 1] else pick(targets);
}

/// One of the targets, each as often as its weight says.
fn pick(targets: []const documents.Target) documents.Target {
    if (targets.len == 1) return targets[0];
    var total: u64 = 0;
    for (targets) |target| total += target.weight;
    var left = if (total == 0) 0 else std.crypto.random.uintLessThan(u64, total);
    for (targets) |target| {
        if (left < target.weight) return target;
        left -= target.weight;
    }
    return targets[0];
}
