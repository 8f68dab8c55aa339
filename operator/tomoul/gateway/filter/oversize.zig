//! An answer in one piece that is larger than a body may be: nobody gets it, since its ids could not be made the gateway's
//! without holding all of it, but its engine has made its tokens, and they are counted as it goes by.

const std = @import("std");
const abi = @import("abi.zig");
const bodies = @import("body.zig");
const errors = @import("errors.zig");
const bad_gateway = @import("bad_gateway.zig");
const json = @import("json.zig");
const text = @import("text.zig");
const Call = @import("call.zig").Call;
const Usage = @import("usage.zig").Usage;

const key = "\"usage\"";
/// More than any engine's `usage` takes.
const kept_bytes = 4096;

pub const Oversize = struct {
    /// What has just come, behind the end of what has gone by, in which `usage` may have begun.
    tail: text.Text = .{},

    /// Usage that is told there. Inside a string of the answer the quotes would be escaped, so that
    /// this finds the member and nothing else.
    pub fn look(self: *Oversize, allocator: std.mem.Allocator) ?Usage {
        const there = self.tail.items;
        var found: ?Usage = null;
        var from: usize = 0;
        while (text.find(there[from..], key)) |at| {
            from += at + key.len;
            if (usageAt(there, from)) |usage| found = usage;
        }
        const kept = @min(there.len, kept_bytes);
        std.mem.copyForwards(u8, there[0..kept], there[there.len - kept ..]);
        self.tail.shrinkAndFree(allocator, kept);
        return found;
    }
};

/// The usage whose name ends at `at`; null where it is none, or has not ended yet.
fn usageAt(there: []const u8, at: usize) ?Usage {
    var problem: json.Problem = .{};
    var reader: json.Reader = .{ .text = there, .at = at, .problem = &problem };
    if (reader.peek() != ':') return null;
    reader.at += 1;
    if (reader.peek() != '{') return null;
    const start = reader.at;
    _ = reader.skipValue() catch return null;
    return .of(there[start..reader.at]);
}

/// Answers in the place of an engine whose answer is too large, or for which there is no room beside others'.
pub fn begin(call: *Call, why: enum { too_large, no_room }) !void {
    call.answer = .replaced;
    call.replacement = switch (why) {
        .too_large => try bad_gateway.ofTooLarge(call),
        .no_room => try bad_gateway.ofNoRoom(call),
    };
    call.oversize = .{};
    try pass(call);
    call.held.release();
}

/// Lets go of what has arrived.
pub fn pass(call: *Call) !void {
    const stream, const allocator = .{ call.stream, std.heap.c_allocator };
    for ([_]abi.Body{ .buffered_response, .received_response }) |which| {
        if (call.oversize) |*oversize| {
            try bodies.gather(stream, which, stream.chunkCount(which), &oversize.tail, allocator);
            if (oversize.look(allocator)) |usage| call.usage = usage;
        }
        stream.drain(which, stream.bodySize(which));
    }
}

pub fn forget(call: *Call) void {
    if (call.oversize) |*oversize| oversize.tail.deinit(std.heap.c_allocator);
}

test "usage is found wherever pieces end, and what only looks like it is not" {
    const allocator = std.testing.allocator;
    const told = "{\"a\":\"\\\"usage\\\":{}\",\"b\":[\"usage\"],\"usage\" : {\"completion_tokens\":7,\"d\":{\"cached_tokens\":2}},\"c\":[\"}\"]}";
    const filler = "{\"token\":\"x\"}," ** 700;
    for (1..told.len) |size| {
        var oversize: Oversize = .{};
        defer oversize.tail.deinit(allocator);
        var found: Usage = .{};
        for ([_][]const u8{ filler, told, filler }) |part| {
            var from: usize = 0;
            while (from < part.len) : (from += size) {
                try oversize.tail.appendSlice(allocator, part[from..@min(part.len, from + size)]);
                if (oversize.look(allocator)) |usage| found = usage;
            }
        }
        try std.testing.expectEqual(Usage{ .completion_tokens = 7, .cached_tokens = 2 }, found);
    }
}
