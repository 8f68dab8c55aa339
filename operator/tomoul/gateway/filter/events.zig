//! What lines of a stream of events are, and what chunks bring.

const std = @import("std");
const blocks = @import("blocks.zig");
const json = @import("json.zig");
const text = @import("text.zig");

pub const data = "data:";
const done_mark = "[DONE]";

/// Whether an event tells of an error, nested or flat.
pub fn isError(members: *const json.Members, chunk: []const u8) bool {
    if (members.of("error", .object) != null or members.of("error", .string) != null) return true;
    const object = members.of("object", .string) orelse return false;
    return std.mem.eql(u8, object.inner(chunk), "error");
}

/// Which of these names are in a line. Inside a string of the answer the quotes would be escaped, so that this finds
/// members and nothing else.
pub const Told = struct {
    usage: bool = false,
    is_error: bool = false,

    fn add(self: *Told, name: *const [5]u8) void {
        if (std.mem.eql(u8, name, "usage")) self.usage = true;
        if (std.mem.eql(u8, name, "error")) self.is_error = true;
    }
};

/// Both have five letters, so that one look through the line, for quotes six apart, finds either.
pub fn told(line: []const u8) Told {
    const apart = 6;
    var made: Told = .{};
    if (line.len <= apart) return made;
    const places = line.len - apart;
    if (places < blocks.width) {
        for (line[0..places], 0..) |c, at| {
            if (c == '"' and line[at + apart] == '"') made.add(line[at + 1 ..][0..5]);
        }
        return made;
    }
    var at: usize = 0;
    // The last block overlaps the one before.
    while (at < places) : (at += blocks.width) {
        at = @min(at, places - blocks.width);
        var both = blocks.quotes(line[at..]) & blocks.quotes(line[at + apart ..]);
        while (both != 0) : (both &= both - 1) made.add(line[at + @ctz(both) + 1 ..][0..5]);
    }
    return made;
}

/// Whether a line is the mark of the end.
pub fn isDone(line: []const u8) bool {
    if (!std.mem.startsWith(u8, line, data)) return false;
    return std.mem.eql(u8, std.mem.trim(u8, line[data.len..], " \r\n"), done_mark);
}

/// Whether a line is one that streams of events may have and OpenAI's do not: it is left out.
pub fn isUnasked(line: []const u8) bool {
    for ([_][]const u8{ "event:", "id:", "retry:" }) |field| {
        if (std.mem.startsWith(u8, line, field)) return true;
    }
    return std.mem.startsWith(u8, line, data) and std.mem.trim(u8, line[data.len..], " \r\n").len == 0;
}

/// Whether a chunk brings a token; the first ones say only whose the answer is.
pub fn bringsToken(chunk: []const u8) bool {
    return filled(chunk, "\"content\":", '"') or filled(chunk, "\"refusal\":", '"') or
        filled(chunk, "\"tool_calls\":", '[') or filled(chunk, "\"reasoning\":", '"') or
        filled(chunk, "\"reasoning_content\":", '"');
}

/// Whether a string or array that is not empty follows the key somewhere.
fn filled(chunk: []const u8, key: []const u8, opening: u8) bool {
    var from: usize = 0;
    while (text.find(chunk[from..], key)) |found| {
        from += found + key.len;
        const value = std.mem.trimLeft(u8, chunk[from..], " ");
        if (value.len < 2 or value[0] != opening) continue;
        const closing: u8 = if (opening == '[') ']' else '"';
        if (std.mem.trimLeft(u8, value[1..], if (opening == '[') " " else "")[0] != closing) return true;
    }
    return false;
}

test "names are found wherever they are, and only as names" {
    for (7..140) |length| {
        var line: [140]u8 = undefined;
        for (&line, 0..) |*c, at| c.* = "\"us\\"[at % 4];
        const none = told(line[0..length]);
        try std.testing.expect(!none.usage and !none.is_error);
        for (0..length - 6) |at| {
            for ([_][]const u8{ "\"usage\"", "\"error\"" }, 0..) |name, which| {
                var with = line;
                @memcpy(with[at..][0..7], name);
                try std.testing.expectEqual(Told{ .usage = which == 0, .is_error = which == 1 }, told(with[0..length]));
            }
        }
    }
    for ([_][]const u8{ "", "\"usage", "\"usages\"", "\\\"usage\\\"", "\"index\":\"delta\"" }) |line|
        try std.testing.expectEqual(Told{}, told(line));
}

test "only a chunk with something in it brings a token" {
    try std.testing.expect(bringsToken("{\"delta\":{\"content\": \"x\"}}"));
    try std.testing.expect(bringsToken("{\"delta\":{\"tool_calls\":[{}]}}"));
    try std.testing.expect(bringsToken("{\"delta\":{\"content\":\"\",\"reasoning_content\":\"x\"}}"));
    for ([_][]const u8{ "{\"content\":\"\"}", "{\"content\":null}", "{\"tool_calls\":[ ]}", "{\"content\":\"" }) |chunk|
        try std.testing.expect(!bringsToken(chunk));
}
