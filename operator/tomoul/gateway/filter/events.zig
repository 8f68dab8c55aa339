//! What lines of a stream of events are, and what chunks bring.

const std = @import("std");
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

test "only a chunk with something in it brings a token" {
    try std.testing.expect(bringsToken("{\"delta\":{\"content\": \"x\"}}"));
    try std.testing.expect(bringsToken("{\"delta\":{\"tool_calls\":[{}]}}"));
    try std.testing.expect(bringsToken("{\"delta\":{\"content\":\"\",\"reasoning_content\":\"x\"}}"));
    for ([_][]const u8{ "{\"content\":\"\"}", "{\"content\":null}", "{\"tool_calls\":[ ]}", "{\"content\":\"" }) |chunk|
        try std.testing.expect(!bringsToken(chunk));
}
