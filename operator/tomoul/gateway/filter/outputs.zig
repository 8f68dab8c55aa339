//! The most tokens that a call may put out.

const std = @import("std");
const errors = @import("errors.zig");
const json = @import("json.zig");
const Call = @import("call.zig").Call;

const names = [_][]const u8{ "max_completion_tokens", "max_tokens" };

/// The `max_tokens` to send in the place of the client's, null where that is right. `most` is the tenant's limit of a
/// call, over all its choices. A client that asks for more is refused, one that asks for nothing gets the limit.
pub fn limited(call: *Call, sent: []const u8, members: *const json.Members, most: ?u64) errors.Refused!?u64 {
    const all = most orelse return null;
    const choices = try number(call, sent, members, "n") orelse 1;
    if (choices == 0 or choices > all)
        return errors.refuse(call, 400, "invalid_value", .{ .param = "n" }, "`n` must be 1 to {d}: the API key's calls may put out that many tokens", .{all});
    const each = all / choices;
    var asked: [names.len]?u64 = undefined;
    for (names, &asked) |name, *value| {
        value.* = try number(call, sent, members, name);
        if (value.* orelse 0 > each)
            return errors.refuse(call, 400, "invalid_value", .{ .param = name }, "`{s}` must be at most {d}: the API key's calls may put out {d} tokens over all choices", .{ name, each, all });
    }
    // Not all engines know the newer name, and some let the older one win.
    return if (asked[1] != null) null else asked[0] orelse each;
}

/// A whole number that is not negative; null where there is none.
fn number(call: *Call, sent: []const u8, members: *const json.Members, name: []const u8) errors.Refused!?u64 {
    const member = members.get(name) orelse return null;
    if (member.kind == .null) return null;
    if (member.kind == .number) {
        if (std.fmt.parseInt(u64, member.raw(sent), 10)) |value| return value else |_| {}
    }
    return errors.refuse(call, 400, "invalid_type", .{ .param = name }, "`{s}` must be a whole number", .{name});
}
