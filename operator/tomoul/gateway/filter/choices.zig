//! Tokens of a call's choices in a stream: vLLM and SGLang tell in each chunk those of its choice so far, and all together
//! only in the last one, which does not come where a client goes away before.

const std = @import("std");
const json = @import("json.zig");

/// More than any engine makes of a call; what lies beyond counts as the first.
const most = 1024;
const usual = "[{\"index\":";

threadlocal var choice: json.Members = .{};

pub const Choices = struct {
    tokens: std.ArrayListUnmanaged(u64) = .{},
    total: u64 = 0,

    /// All tokens so far, where the choice of a chunk, whose `choices` is `raw`, has come to `count`.
    pub fn count(self: *Choices, allocator: std.mem.Allocator, raw: []const u8, told: u64) !u64 {
        const index = indexOf(raw);
        if (index >= self.tokens.items.len) try self.tokens.appendNTimes(allocator, 0, index + 1 - self.tokens.items.len);
        const own = &self.tokens.items[index];
        self.total += told -| own.*;
        own.* = @max(own.*, told);
        return self.total;
    }
};

/// The `index` of the first choice; 0 where it has none.
fn indexOf(raw: []const u8) usize {
    if (std.mem.startsWith(u8, raw, usual)) return number(raw[usual.len..]);
    var problem: json.Problem = .{};
    var reader: json.Reader = .{ .text = raw, .at = @min(1, raw.len), .problem = &problem };
    choice.readNext(&reader) catch return 0;
    const member = choice.of("index", .number) orelse return 0;
    return number(member.raw(raw));
}

fn number(text: []const u8) usize {
    var made: usize = 0;
    for (text) |digit| {
        if (!std.ascii.isDigit(digit)) break;
        made = made * 10 + digit - '0';
        if (made >= most) return 0;
    }
    return made;
}

test "each choice's tokens are added to the others'" {
    const allocator = std.testing.allocator;
    var choices: Choices = .{};
    defer choices.tokens.deinit(allocator);
    const Chunk = struct { []const u8, u64, u64 };
    for ([_]Chunk{
        .{ "[{\"index\":0,\"delta\":{}}]", 0, 0 },
        .{ "[{\"index\":0,\"delta\":{}}]", 2, 2 },
        .{ "[{\"delta\":{\"tool_calls\":[{\"index\":0}]},\"index\":12}]", 3, 5 },
        .{ "[ {\"index\": 12}]", 4, 6 },
        .{ "[{\"index\":0}]", 1, 6 },
        .{ "[{\"index\":99999999999999999999}]", 3, 7 },
        .{ "[{}]", 3, 7 },
        .{ "[1]", 4, 8 },
    }) |chunk| try std.testing.expectEqual(chunk[2], try choices.count(allocator, chunk[0], chunk[1]));
}
