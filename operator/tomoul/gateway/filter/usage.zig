//! What an engine tells of the tokens of a call.

const std = @import("std");
const json = @import("json.zig");
const text = @import("text.zig");
const testing = std.testing;

threadlocal var told_members: json.Members = .{};

/// Tokens as the engine told them.
pub const Usage = struct {
    prompt_tokens: ?u64 = null,
    completion_tokens: ?u64 = null,
    cached_tokens: ?u64 = null,

    /// Of `raw`, the JSON of a `usage` object.
    pub fn of(raw: []const u8) Usage {
        var made: Usage = .{};
        var is_left = [_]bool{true} ** std.meta.fields(Usage).len;
        var from: usize = 0;
        while (std.mem.indexOfScalarPos(u8, raw, from, '"')) |quote| {
            from = quote + 1;
            // The first of each, at any depth: `cached_tokens` is nested.
            inline for (std.meta.fields(Usage), &is_left) |field, *left| {
                const key = "\"" ++ field.name ++ "\"";
                if (left.* and std.mem.startsWith(u8, raw[quote..], key)) {
                    left.* = false;
                    @field(made, field.name) = tokens(raw[quote + key.len ..]);
                }
            }
        }
        return made;
    }

    /// Appends `raw`, the JSON of a `usage` object, with these tokens in the place of those of the answer and of all.
    pub fn write(self: Usage, into: *text.Text, allocator: std.mem.Allocator, raw: []const u8) !void {
        const completion = self.completion_tokens orelse return into.appendSlice(allocator, raw);
        const members = &told_members;
        if (!members.read(raw)) return into.appendSlice(allocator, raw);
        var from: usize = 0;
        for (members.items()) |member| {
            const count = if (std.mem.eql(u8, member.name, "completion_tokens"))
                completion
            else if (std.mem.eql(u8, member.name, "total_tokens"))
                (self.prompt_tokens orelse 0) +| completion
            else
                continue;
            var digits: [20]u8 = undefined;
            try into.appendSlice(allocator, raw[from..member.start]);
            try into.appendSlice(allocator, text.decimal(&digits, count));
            from = member.end;
        }
        try into.appendSlice(allocator, raw[from..]);
    }
};

/// More tokens than any call has: an engine that tells of them is not believed, since its caller would pay for them.
const max_tokens = 1_000_000_000;

/// The whole number behind a member's name.
fn tokens(raw: []const u8) ?u64 {
    const after = std.mem.trimLeft(u8, raw, ": \t\r\n");
    const word = after[0 .. std.mem.indexOfAny(u8, after, ",}] \t\r\n") orelse after.len];
    const count = std.fmt.parseInt(u64, word, 10) catch whole: {
        const number = std.fmt.parseFloat(f64, word) catch return null;
        if (!(number >= 0 and number <= max_tokens) or @trunc(number) != number) return null;
        break :whole @as(u64, @intFromFloat(number));
    };
    return if (count <= max_tokens) count else null;
}

test "tokens are told anew where others have come to them" {
    var made: text.Text = .{};
    defer made.deinit(testing.allocator);
    const raw = "{ \"completion_tokens\":2,\"prompt_tokens\":3 , \"total_tokens\" : 5,\"a\":{\"total_tokens\":5}}";
    try (Usage{ .prompt_tokens = 3, .completion_tokens = 40 }).write(&made, testing.allocator, raw);
    try testing.expectEqualStrings("{ \"completion_tokens\":40,\"prompt_tokens\":3 , \"total_tokens\" : 43,\"a\":{\"total_tokens\":5}}", made.items);
    made.clearRetainingCapacity();
    try (Usage{}).write(&made, testing.allocator, raw);
    try testing.expectEqualStrings(raw, made.items);
}

test "tokens are whole numbers that a call can have" {
    const Told = struct { []const u8, ?u64 };
    for ([_]Told{
        .{ "7", 7 },      .{ "\n\t7", 7 },                   .{ "7.0", 7 },      .{ "1e3", 1000 },  .{ "-0", 0 },
        .{ "-5", null },  .{ "7.5", null },                  .{ "\"7\"", null }, .{ "null", null }, .{ "true", null },
        .{ "nan", null }, .{ "18446744073709551615", null }, .{ "1e300", null }, .{ "[7]", null },  .{ "", null },
    }) |told| {
        var buffer: [64]u8 = undefined;
        const raw = try std.fmt.bufPrint(&buffer, "{{\"prompt_tokens\" :{s} , \"completion_tokens\":2}}", .{told[0]});
        try testing.expectEqual(told[1], Usage.of(raw).prompt_tokens);
        try testing.expectEqual(2, Usage.of(raw).completion_tokens);
    }
}
