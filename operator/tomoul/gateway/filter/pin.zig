//! The region that a call names.

const std = @import("std");
const catalogue = @import("catalogue.zig");
const documents = @import("document.zig");
const errors = @import("errors.zig");
const text = @import("text.zig");
const Asked = @import("asked.zig").Asked;
const Call = @import("call.zig").Call;
const Refused = errors.Refused;
const refuse = errors.refuse;

/// The region that the call names. A header that HTTP/1.1's `Connection` removed is not there for anybody.
pub fn named(call: *Call, asked: *const Asked) Refused!?*const documents.Region {
    const count = asked.region.count;
    if (count == 0) return null;
    const param: errors.Options = .{ .param = "X-Tomoul-Region" };
    if (count > 1)
        return refuse(call, 400, "invalid_region", param, "`X-Tomoul-Region` is there more than once; name one region, or none", .{});
    const code = asked.region.first;
    const shown = text.shown(code);
    if (!isRegionCode(code))
        return refuse(call, 400, "invalid_region", param, "`X-Tomoul-Region: {s}` is not a region code; codes are lower case, such as `eu-west`", .{shown.slice()});
    const own = call.document.source.region;
    // Forwarded once more, it could go round for ever.
    if (!std.mem.eql(u8, code, own) and asked.forwarded.count > 0)
        return errors.forCapacity(call, "The endpoint of the region `{s}` leads to the region `{s}`", .{ shown.slice(), own });
    return call.document.regions.get(code) orelse refuse(call, 400, "unknown_region", .{
        .param = param.param,
        .more = try catalogue.existingRegions(call),
    }, "The region `{s}` does not exist", .{shown.slice()});
}

fn isRegionCode(code: []const u8) bool {
    for (code, 0..) |c, index| {
        if (!std.ascii.isLower(c) and !std.ascii.isDigit(c) and (c != '-' or index == 0)) return false;
    }
    return code.len > 0;
}
