//! Bytes that nobody meant, to all that reads what clients and engines send: nothing panics, and what leaves keeps its form.
//!
//! A second of them in each run of the unit tests, and more if `TOMOUL_FUZZ_SECONDS` says so.

const std = @import("std");
const completion = @import("completion.zig");
const failure = @import("failure.zig");
const json = @import("json.zig");
const Oversize = @import("oversize.zig").Oversize;
const Rewriter = @import("stream.zig").Rewriter;
const tenants = @import("tenants.zig");
const text = @import("text.zig");
const toolchoice = @import("toolchoice.zig");
const Hidden = @import("stream.zig").Hidden;
const Text = text.Text;

const testing = std.testing;
const names: completion.Names = .{ .id = "\"chatcmpl_X\"", .model = "\"acme/chat\"", .fingerprint = "\"F\"" };

const seeds = [_][]const u8{
    "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\\\"b\\\\\",\"refusal\":null},\"logprobs\":null}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2.0,\"total_tokens\":3}}",
    "{\"error\":{\"message\":\"n\\u00e9\\n  File\",\"code\":\"a_b\",\"param\":\"x\",\"type\":\"y\"}}",
    "{\"object\":\"error\",\"message\":\"maximum context length\",\"code\":400}",
    "data: {\"id\":\"e-1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\ndata: {\"id\":\"e-1\",\"model\":\"m\",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"\xc3\xa9\"}}],\"usage\":{\"completion_tokens\":1}}\r\n\r\ndata: {\"id\":\"e-1\",\"model\":\"m\",\"choices\":[],\"usage\":{\"completion_tokens\":2,\"total_tokens\":3}}\n\ndata: [DONE]\n\n",
    ": c\nevent: x\nid: 7\nretry: 1\ndata:\n\ndata:{\"choices\":[],\"system_fingerprint\":null}\n\ndata: {\"error\":\"x\",\"code\":4e2}\n\n",
    "[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"parameters\":{}}}, 7, [], \"x\"]",
    "Bearer sk-0123456789",
};
const pieces = [_][]const u8{
    "\"",   "\\",               "\\u",       "{",         "}",      "[",             "]",              ",",           ":",         "\n", "\r\n", "\n\n",     "data: ", "data: [DONE]", "null", "-", "1e999", "\x00", "\xff",
    "\xc3", "\xf0\x9f\x98\x80", "\"usage\"", "\"error\"", "\"id\"", "\"choices\":[", "\"choices\":[]", "{\"index\":", "\"model\"", " ",  "\t",   "[" ** 300,
};

/// Another text than any of `seeds`, or one of them.
fn changed(random: std.Random, allocator: std.mem.Allocator) !Text {
    var made: Text = .{};
    try made.appendSlice(allocator, seeds[random.uintLessThan(usize, seeds.len)]);
    for (0..random.uintLessThan(usize, 12)) |_| {
        const at = random.uintAtMost(usize, made.items.len);
        const length = random.uintAtMost(usize, @min(40, made.items.len - at));
        switch (random.uintLessThan(u8, 6)) {
            0 => try made.insertSlice(allocator, at, pieces[random.uintLessThan(usize, pieces.len)]),
            1 => try made.replaceRange(allocator, at, length, ""),
            2 => if (at < made.items.len) {
                made.items[at] = random.int(u8);
            },
            3 => if (at < made.items.len) {
                made.items[at] ^= @as(u8, 1) << random.int(u3);
            },
            4 => {
                const copy = try allocator.dupe(u8, made.items[at..][0..length]);
                defer allocator.free(copy);
                try made.insertSlice(allocator, random.uintAtMost(usize, made.items.len), copy);
            },
            else => try made.insertSlice(allocator, at, seeds[random.uintLessThan(usize, seeds.len)]),
        }
    }
    return made;
}

fn isJson(allocator: std.mem.Allocator, whole: []const u8) bool {
    return std.json.validate(allocator, whole) catch false;
}

fn readAll(allocator: std.mem.Allocator, random: std.Random, whole: []const u8) !void {
    var members: json.Members = .{};
    if (members.read(whole)) {
        for (members.items()) |member| {
            try testing.expect(member.key < member.start and member.start < member.end and member.end <= whole.len);
            _ = json.isEmptyArray(if (member.kind == .array) member.raw(whole) else "[]");
            var buffer: [64]u8 = undefined;
            if (member.kind == .string) _ = json.plain(member.inner(whole), &buffer);
            if (member.kind != .array) continue;
            var problem: json.Problem = .{};
            var elements: json.Elements = .of(member.raw(whole), &problem);
            while (elements.next()) |element| try testing.expect(element.start < element.end);
        }
    }
    _ = tenants.bearer(whole);
    _ = text.shown(whole);
    var oversize: Oversize = .{};
    defer oversize.tail.deinit(allocator);
    try oversize.tail.appendSlice(allocator, whole);
    _ = oversize.look(allocator);

    const status = random.intRangeAtMost(u16, 400, 599);
    try testing.expect(isJson(allocator, (try failure.normal(allocator, whole, status)).body));
    _ = try failure.statusOf(allocator, whole);
    if ((try completion.rewritten(allocator, whole, names)).body) |body| {
        if (isJson(allocator, whole)) try testing.expect(isJson(allocator, body));
    }
}

/// What leaves of a stream whose pieces have up to `most` bytes.
fn passed(allocator: std.mem.Allocator, random: std.Random, whole: []const u8, hidden: Hidden, most: usize) ![]const u8 {
    var rewriter: Rewriter = .init(allocator, names, hidden);
    var out: Text = .{};
    var at: usize = 0;
    while (at < whole.len) {
        const size = @min(whole.len - at, 1 + random.uintLessThan(usize, most));
        try rewriter.feed(whole[at..][0..size], &out, allocator);
        at += size;
    }
    try rewriter.finish(&out, allocator);
    try testing.expect(rewriter.done);
    return out.items;
}

test "no bytes make a reader panic, and what leaves is JSON, and the same however a stream is cut" {
    const seconds = seconds: {
        const told = std.process.getEnvVarOwned(testing.allocator, "TOMOUL_FUZZ_SECONDS") catch break :seconds 1;
        defer testing.allocator.free(told);
        break :seconds try std.fmt.parseInt(u64, told, 10);
    };
    const seed: u64 = if (seconds == 1) 1 else @intCast(std.time.nanoTimestamp() & std.math.maxInt(i64));
    errdefer std.debug.print("seed {d}\n", .{seed});
    var generator: std.Random.DefaultPrng = .init(seed);
    const random = generator.random();
    var arena: std.heap.ArenaAllocator = .init(testing.allocator);
    defer arena.deinit();
    const end = std.time.milliTimestamp() + @as(i64, @intCast(seconds * 1000));
    var count: usize = 0;
    while (std.time.milliTimestamp() < end) : (count += 1) {
        _ = arena.reset(.retain_capacity);
        const allocator = arena.allocator();
        const whole = try changed(random, allocator);
        errdefer std.debug.print("bytes {any}\n", .{whole.items});
        try readAll(allocator, random, whole.items);
        for (std.enums.values(Hidden)) |hidden| {
            const once = try passed(allocator, random, whole.items, hidden, std.math.maxInt(u32));
            try testing.expectEqualStrings(once, try passed(allocator, random, whole.items, hidden, 7));
            try testing.expect(std.unicode.utf8ValidateSlice(once));
        }
    }
    if (seconds > 1) std.debug.print("{d} texts\n", .{count});
}
