//! The models: found by what a call names, and shown as far as its tenant may use them.

const std = @import("std");
const documents = @import("document.zig");
const errors = @import("errors.zig");
const json = @import("json.zig");
const text = @import("text.zig");
const Call = @import("call.zig").Call;
const Model = documents.Model;
const Refused = errors.Refused;
const refuse = errors.refuse;
const Tenant = @import("tenants.zig").Tenant;

const max_name = 256;

/// The model whose id or alias is in `inner`, the inside of a JSON string.
pub fn find(call: *Call, inner: []const u8) ?*const Model {
    var buffer: [max_name]u8 = undefined;
    return call.document.models.get(json.plain(inner, &buffer) orelse return null);
}

pub fn refuseUnknown(call: *Call, name: []const u8) Refused {
    return refuse(call, 404, "model_not_found", .{ .param = "model" }, "The model `{s}` does not exist; `GET /v1/models` lists those that do", .{text.shown(name).slice()});
}

/// A member of an error: those of some regions that the call's tenant may reach.
pub fn availableRegions(call: *Call, regions: []const []const u8) ![]const u8 {
    var listed: text.Text = .{};
    try listed.appendSlice(call.allocator(), ",\"available_regions\":");
    _ = try documents.appendRegions(&listed, call.allocator(), regions, call.tenant);
    return listed.items;
}

/// The same of all regions that exist.
pub fn existingRegions(call: *Call) ![]const u8 {
    const regions = call.document.source.regions;
    const names = try call.allocator().alloc([]const u8, regions.len);
    for (regions, names) |region, *name| name.* = region.name;
    return availableRegions(call, names);
}

/// Answers `GET /v1/models`, or with an escaped `name` that of one model.
pub fn show(call: *Call, name: ?[]const u8) Refused!bool {
    const allocator, const document = .{ call.allocator(), call.document };
    const tenant: ?*const Tenant = if (call.tenant.?.isFree()) null else call.tenant;
    const shown = if (name) |escaped| one: {
        const unescaped = std.Uri.percentDecodeInPlace(try allocator.dupe(u8, escaped));
        const model = document.models.get(unescaped) orelse return refuseUnknown(call, unescaped);
        var made: text.Text = .{};
        if (!try documents.appendCard(&made, allocator, model, tenant)) return refuseUnknown(call, unescaped);
        break :one made.items;
    } else if (tenant == null) document.list else try document.listed(allocator, tenant);
    call.local = true;
    call.stream.respond(200, &.{
        .of("content-type", "application/json"),
        .of("x-tomoul-region", call.document.source.region),
    }, shown, "tomoul");
    return error.Refused;
}
