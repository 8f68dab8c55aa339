//! An answer in one piece, under the completion's id and the model's.

const std = @import("std");
const json = @import("json.zig");
const text = @import("text.zig");
const Usage = @import("stream.zig").Usage;

pub const Rewritten = struct { body: ?[]const u8, usage: Usage = .{} };

/// `id` and `model` are JSON. Null for a body that is to stay as it is.
pub fn rewritten(allocator: std.mem.Allocator, answered: []const u8, id: []const u8, model: []const u8) !Rewritten {
    const members = try allocator.create(json.Members);
    members.* = .{};
    if (!members.read(answered)) return .{ .body = null };
    var made: text.Text = .{};
    try made.ensureTotalCapacity(allocator, answered.len + 128);
    var from: usize = 0;
    for (members.items()) |*member| {
        if (member.kind != .string) continue;
        const is_id = std.mem.eql(u8, member.name, "id");
        if (!is_id and !std.mem.eql(u8, member.name, "model")) continue;
        try made.appendSlice(allocator, answered[from..member.start]);
        try made.appendSlice(allocator, if (is_id) id else model);
        from = member.end;
    }
    try made.appendSlice(allocator, answered[from..]);
    const usage = members.of("usage", .object);
    return .{ .body = made.items, .usage = if (usage) |member| .of(member.raw(answered)) else .{} };
}

test "a completion keeps all but its names" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const made = try rewritten(arena.allocator(), "{\"model\":\"m\", \"id\" : \"x\",\"usage\":{\"prompt_tokens\":3}} ", "\"I\"", "\"M\"");
    try std.testing.expectEqualStrings("{\"model\":\"M\", \"id\" : \"I\",\"usage\":{\"prompt_tokens\":3}} ", made.body.?);
    try std.testing.expectEqual(Usage{ .prompt_tokens = 3 }, made.usage);
}
