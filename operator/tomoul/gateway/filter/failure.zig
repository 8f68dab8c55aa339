//! Engines' errors, each in a shape of its own, as OpenAI's.

const std = @import("std");
const errors = @import("errors.zig");
const json = @import("json.zig");
const text = @import("text.zig");

fn codeOf(status: u16) []const u8 {
    return switch (status) {
        400, 422 => "invalid_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        408 => "request_timeout",
        413 => "request_too_large",
        429 => "rate_limit_exceeded",
        503 => "region_capacity_unavailable",
        504 => "timeout",
        else => if (status < 500) "invalid_request" else "engine_failed",
    };
}

/// How llama.cpp begins what it says of a call that it cannot read, or that asks for what it is not built for: with status
/// 500, which would have the client try again, and count as a failure of the engine's.
const clients_mistakes = [_][]const u8{
    "Failed to parse messages: ",   "Failed to parse tools: ",      "Failed to parse tool call arguments as JSON: ",
    "image input is not supported", "audio input is not supported", "video input is not supported",
    "Unknown reasoning format: ",
};

/// What vLLM, SGLang and llama.cpp say, with status 400, of a call that is longer than the model's window.
const too_long = [_][]const u8{
    "maximum context length", "longer than the model's context length", "maximum model length", "exceeds the available context size",
};

/// An engine's error as OpenAI's, its code for the log, the status that it should have had and that one's word. Engines
/// nest it under `error` or not, and give the code as a number or a word.
pub const Normal = struct { body: []const u8, code: []const u8, status: u16, word: []const u8 };

pub fn normal(allocator: std.mem.Allocator, engines: []const u8, engines_status: u16) !Normal {
    var found = engines;
    const members = try allocator.create(json.Members);
    members.* = .{};
    if (!std.unicode.utf8ValidateSlice(engines) or !members.read(found)) {
        members.count = 0;
    } else if (members.of("error", .object)) |nested| {
        found = nested.raw(found);
        if (!members.read(found)) members.count = 0;
    }
    const told = string(members, found, "message") orelse string(members, found, "error") orelse string(members, found, "detail");
    const status = if (engines_status == 500 and isMistake(told orelse "")) 400 else engines_status;
    const message = if (told != null and !isTrace(told.?, status))
        told.?
    else
        try std.fmt.allocPrint(allocator, "\"The engine answered {d}\"", .{status});
    const word = if (status == 400 and isTooLong(told orelse "")) "context_length_exceeded" else codeOf(status);
    const code = string(members, found, "code") orelse try text.quoted(allocator, word);
    return .{
        .body = try errors.body(allocator, status, message, string(members, found, "param") orelse "null", code, ""),
        // Text of an engine's could hold anything; a log gets words only.
        .code = if (isWord(code[1 .. code.len - 1])) try allocator.dupe(u8, code[1 .. code.len - 1]) else word,
        .status = status,
        .word = word,
    };
}

/// The status that an error would have had, which is an event of a stream that had begun: vLLM and SGLang judge some of what
/// a call asks for only then, and tell as its code whose mistake it is.
pub fn statusOf(allocator: std.mem.Allocator, chunk: []const u8) !u16 {
    var found = chunk;
    const members = try allocator.create(json.Members);
    members.* = .{};
    if (!members.read(found)) return 500;
    if (members.of("error", .object)) |nested| {
        found = nested.raw(found);
        if (!members.read(found)) return 500;
    }
    const code = members.of("code", .number) orelse return 500;
    const status = std.fmt.parseInt(u16, code.raw(found), 10) catch return 500;
    return switch (status) {
        401, 403, 407 => 500, // about the gateway that called it
        400, 402, 404...406, 408...499 => status,
        else => 500,
    };
}

/// Whether a message, which is JSON, tells of a client's mistake, whatever status its engine gave it.
fn isMistake(message: []const u8) bool {
    for (clients_mistakes) |start| {
        if (message.len > 2 and std.mem.startsWith(u8, message[1..], start)) return true;
    }
    return false;
}

fn isTooLong(message: []const u8) bool {
    for (too_long) |words| {
        if (std.mem.indexOf(u8, message, words) != null) return true;
    }
    return false;
}

fn string(members: *const json.Members, found: []const u8, name: []const u8) ?[]const u8 {
    const member = members.of(name, .string) orelse return null;
    const inner = member.inner(found);
    return if (inner.len > 0 and isWellFormed(inner)) member.raw(found) else null;
}

/// Whether a message, which is JSON, shows how the engine is made: a bug of an engine's may put a stack trace into it. Of a
/// client's mistakes several lines may tell.
fn isTrace(message: []const u8, status: u16) bool {
    return std.mem.indexOf(u8, message, "Traceback (most recent call last)") != null or
        (status >= 500 and std.mem.indexOf(u8, message, "\\n") != null);
}

/// Whether what stands between quotes is a string by JSON's rules, which the reader of members leaves to who uses one.
fn isWellFormed(inner: []const u8) bool {
    var at: usize = 0;
    while (at < inner.len) : (at += 1) {
        if (inner[at] < 0x20) return false;
        if (inner[at] != '\\') continue;
        at += 1;
        if (at == inner.len) return false;
        switch (inner[at]) {
            '"', '\\', '/', 'b', 'f', 'n', 'r', 't' => {},
            'u' => {
                const unit = hexUnit(inner[at..]) orelse return false;
                at += 4;
                // Half of a character, with which some readers refuse all of an answer.
                if (std.unicode.utf16IsLowSurrogate(unit)) return false;
                if (!std.unicode.utf16IsHighSurrogate(unit)) continue;
                if (inner.len - at < 3 or inner[at + 1] != '\\') return false;
                if (!std.unicode.utf16IsLowSurrogate(hexUnit(inner[at + 2 ..]) orelse return false)) return false;
                at += 6;
            },
            else => return false,
        }
    }
    return true;
}

/// The number in `u` and four hexadecimal digits.
fn hexUnit(escape: []const u8) ?u16 {
    if (escape.len < 5 or escape[0] != 'u') return null;
    for (escape[1..5]) |digit| {
        if (!std.ascii.isHex(digit)) return null;
    }
    return std.fmt.parseInt(u16, escape[1..5], 16) catch null;
}

fn isWord(code: []const u8) bool {
    if (code.len == 0 or code.len > 78) return false;
    for (code) |c| {
        if (!std.ascii.isAlphanumeric(c) and c != '_' and c != '.' and c != '-') return false;
    }
    return true;
}

test "an engine's error takes OpenAI's shape" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const cases = [_]struct { []const u8, u16, []const u8, []const u8 }{
        .{
            "{\"error\":{\"message\":\"no\",\"code\":400,\"param\":\"top_p\"}}", 400,
            "{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\",\"param\":\"top_p\",\"code\":\"invalid_request\"}}",
            "invalid_request",
        },
        .{
            "{\"message\":\"n\\u006f\",\"code\":\"a b\"}", 500,
            "{\"error\":{\"message\":\"n\\u006f\",\"type\":\"server_error\",\"param\":null,\"code\":\"a b\"}}", "engine_failed",
        },
        .{
            "{\"message\":\"a\x01b\",\"param\":\"\\x\",\"code\":\"\\u00g0\"}", 400,
            "{\"error\":{\"message\":\"The engine answered 400\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_request\"}}",
            "invalid_request",
        },
        .{
            "{\"detail\":\"a\\n  File b\"}", 500,
            "{\"error\":{\"message\":\"The engine answered 500\",\"type\":\"server_error\",\"param\":null,\"code\":\"engine_failed\"}}",
            "engine_failed",
        },
        .{
            "{\"detail\":\"a\\nTraceback (most recent call last):\"}", 400,
            "{\"error\":{\"message\":\"The engine answered 400\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_request\"}}",
            "invalid_request",
        },
        .{
            "{\"detail\":\"a\\nb\"}", 400,
            "{\"error\":{\"message\":\"a\\nb\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_request\"}}",
            "invalid_request",
        },
        .{
            "{\"error\":{\"code\":500,\"message\":\"Failed to parse tools: Missing tool type: 1; tools = [\\n  1\\n]\"}}", 500,
            "{\"error\":{\"message\":\"Failed to parse tools: Missing tool type: 1; tools = [\\n  1\\n]\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_request\"}}",
            "invalid_request",
        },
        .{
            "{\"message\":\"Failed to parse tools: x\"}", 503,
            "{\"error\":{\"message\":\"Failed to parse tools: x\",\"type\":\"server_error\",\"param\":null,\"code\":\"region_capacity_unavailable\"}}",
            "region_capacity_unavailable",
        },
        .{
            "{\"message\":\"\",\"param\":\"\",\"code\":\"\"}", 400,
            "{\"error\":{\"message\":\"The engine answered 400\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_request\"}}",
            "invalid_request",
        },
        .{
            "<html>", 503,
            "{\"error\":{\"message\":\"The engine answered 503\",\"type\":\"server_error\",\"param\":null,\"code\":\"region_capacity_unavailable\"}}",
            "region_capacity_unavailable",
        },
    };
    for (cases) |case| {
        const made = try normal(arena.allocator(), case[0], case[1]);
        try std.testing.expectEqualStrings(case[2], made.body);
        try std.testing.expectEqualStrings(case[3], made.code);
    }
}

test "what is half of a character is no string" {
    for ([_][]const u8{ "\\u00e9", "\\uD83D\\uDE00", "a\\ud83d\\ude00b" }) |inner| try std.testing.expect(isWellFormed(inner));
    for ([_][]const u8{ "\\ude00", "\\ud83d", "\\ud83d\\", "\\ud83dx", "\\ud83d\\n1234", "\\ud83d\\ud83d", "\\ud83d\\u0041", "\\u12" }) |inner|
        try std.testing.expect(!isWellFormed(inner));
}

test "an error in a stream is whose its code says" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const cases = [_]struct { []const u8, u16 }{
        .{ "{\"error\":{\"message\":\"x\",\"code\":400}}", 400 },
        .{ "{\"object\":\"error\",\"message\":\"x\",\"code\":422}", 422 },
        .{ "{\"error\":{\"code\":503}}", 500 },
        .{ "{\"error\":{\"code\":401}}", 500 },
        .{ "{\"error\":{\"code\":99999999}}", 500 },
        .{ "{\"error\":{\"code\":\"400\"}}", 500 },
        .{ "{\"error\":\"x\",\"code\":4e2}", 500 },
        .{ "{\"error\":{}}", 500 },
    };
    for (cases) |case| try std.testing.expectEqual(case[1], try statusOf(arena.allocator(), case[0]));
}

test "an error's code outlives what the engine sent" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var engines = "{\"error\":{\"message\":\"no\",\"code\":\"too_long\"}}".*;
    const made = try normal(arena.allocator(), &engines, 400);
    @memset(&engines, ' ');
    try std.testing.expectEqualStrings("too_long", made.code);
}
