//! Streams as they leave.

const std = @import("std");
const completion = @import("completion.zig");
const Rewriter = @import("stream.zig").Rewriter;
const Text = @import("text.zig").Text;
const Usage = @import("usage.zig").Usage;

const testing = std.testing;
const test_names: completion.Names = .{ .id = "\"chatcmpl_X\"", .model = "\"acme/chat\"", .fingerprint = "\"F\"" };

fn rewritten(arena: std.mem.Allocator, rewriter: *Rewriter, whole: []const u8, size: usize) ![]const u8 {
    var out: Text = .{};
    var at: usize = 0;
    while (at < whole.len) : (at += size) try rewriter.feed(whole[at..@min(at + size, whole.len)], &out, arena);
    try rewriter.finish(&out, arena);
    return out.items;
}

test "a stream is the same however it is cut" {
    const sent =
        "data: {\"id\":\"e-1\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n" ++
        "data: {\"id\":\"e-1\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"\\\"id\\\":\\\"e-1\\\"\"}}]}\n\n" ++
        ": comment\n\ndata: {\"choices\":[],\"id\":\"e-1\",\"model\":\"acme/chat\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2," ++
        "\"prompt_tokens_details\":{\"cached_tokens\":3}}}\n\ndata: [DONE]\n\n";
    const wanted =
        "data: {\"id\":\"chatcmpl_X\",\"system_fingerprint\":\"F\",\"model\":\"acme/chat\",\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n" ++
        "data: {\"id\":\"chatcmpl_X\",\"system_fingerprint\":\"F\",\"model\":\"acme/chat\",\"choices\":[{\"delta\":{\"content\":\"\\\"id\\\":\\\"e-1\\\"\"}}]}\n\n" ++
        ": comment\n\ndata: [DONE]\n\n";
    for (1..sent.len + 1) |size| {
        var arena: std.heap.ArenaAllocator = .init(testing.allocator);
        defer arena.deinit();
        var rewriter: Rewriter = .init(arena.allocator(), test_names, .all);
        try testing.expectEqualStrings(wanted, try rewritten(arena.allocator(), &rewriter, sent, size));
        try testing.expectEqual(Usage{ .prompt_tokens = 7, .completion_tokens = 2, .cached_tokens = 3 }, rewriter.usage.?);
        try testing.expect(rewriter.has_token);
        try testing.expect(rewriter.between_events);
    }
}

test "every chunk has the fingerprint once, whether its engine tells one or not, and wherever" {
    const sent =
        "data: {\"choices\":[],\"id\":\"e\",\"model\":\"m\",\"system_fingerprint\":\"b1\"}\n\n" ++
        "data: {\"choices\":[1],\"id\":\"e\",\"model\":\"m\",\"system_fingerprint\":\"b1\"}\n\n" ++
        "data: {\"id\":\"e\",\"choices\":[2]}\n\n" ++
        "data: {\"id\":\"e\",\"choices\":[3]}\n\n" ++
        "data: {\"system_fingerprint\":null,\"id\":\"e\",\"choices\":[4]}\n\ndata: [DONE]\n\n";
    const wanted =
        "data: {\"choices\":[],\"id\":\"chatcmpl_X\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\"}\n\n" ++
        "data: {\"choices\":[1],\"id\":\"chatcmpl_X\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\"}\n\n" ++
        "data: {\"id\":\"chatcmpl_X\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"choices\":[2]}\n\n" ++
        "data: {\"id\":\"chatcmpl_X\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"choices\":[3]}\n\n" ++
        "data: {\"system_fingerprint\":\"F\",\"id\":\"chatcmpl_X\",\"model\":\"acme/chat\",\"choices\":[4]}\n\ndata: [DONE]\n\n";
    for (1..sent.len + 1) |size| {
        var arena: std.heap.ArenaAllocator = .init(testing.allocator);
        defer arena.deinit();
        var rewriter: Rewriter = .init(arena.allocator(), test_names, .nothing);
        try testing.expectEqualStrings(wanted, try rewritten(arena.allocator(), &rewriter, sent, size));
    }
}

test "a stream without a mark of its end ends in an error" {
    var arena: std.heap.ArenaAllocator = .init(testing.allocator);
    defer arena.deinit();
    var rewriter: Rewriter = .init(arena.allocator(), test_names, .nothing);
    const made = try rewritten(arena.allocator(), &rewriter, "data: {\"id\":\"e\"}\n\ndata: {\"id\"", 64);
    try testing.expect(std.mem.endsWith(u8, made, "\"code\":\"engine_failed\"}}\n\n"));
    try testing.expectEqualStrings("engine_failed", rewriter.code.?);
}

const whole_chunk = "data: {\"id\":\"e\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"choices\":[]}\n\n";
const whole_chunk_rewritten = "data: {\"id\":\"chatcmpl_X\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"choices\":[]}\n\n";

/// What a stream of `sent` ends in after its first chunk, however it is cut.
fn expectEnd(wanted: []const u8, code: ?[]const u8, sent: []const u8) !void {
    const all = try std.mem.concat(testing.allocator, u8, &.{ whole_chunk, sent });
    defer testing.allocator.free(all);
    for ([_]usize{ 1, 2, 7, 4096 }) |size| {
        var arena: std.heap.ArenaAllocator = .init(testing.allocator);
        defer arena.deinit();
        var rewriter: Rewriter = .init(arena.allocator(), test_names, .nothing);
        const made = try rewritten(arena.allocator(), &rewriter, all, size);
        try testing.expect(std.mem.startsWith(u8, made, whole_chunk_rewritten));
        try testing.expectEqualStrings(wanted, std.mem.trimLeft(u8, made[whole_chunk_rewritten.len..], "\n"));
        try testing.expectEqualDeep(code, rewriter.code);
    }
}

test "what is no chunk ends a stream in an error, and nothing follows" {
    const broken_off = "data: {\"error\":{\"message\":\"The engine broke off the answer\",\"type\":\"server_error\",\"param\":null,\"code\":\"engine_failed\"}}\n\n";
    const odd = [_][]const u8{
        "data: no\n\n",                                      "data: [DONE] and more\n\n",
        "<html>\n",                                          "error: {\"message\":\"x\"}\n\n",
        "data: {\"id\":\"e\",\"choices\":[\n\n",             "data: {\"id\":\"e\",\ndata: \"choices\":[]}\n\n",
        "data: {\"id\":\"e\"}\n\n",                          "data: {\"choices\":[],\"a\":\"\xff\"}\n\n",
        "data: {\"id\":\"e\",\"usage\":{},\"choices\":\n\n",
    };
    for (odd) |event| {
        const sent = try std.mem.concat(testing.allocator, u8, &.{ event, whole_chunk, "data: [DONE]\n\n" });
        defer testing.allocator.free(sent);
        try expectEnd(broken_off, "engine_failed", sent);
    }
    for ([_][]const u8{ "data: {\"id\":\"e\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"cho", "", "data: [DO" }) |rest| try expectEnd(broken_off, "engine_failed", rest);
}

test "an error's event ends a stream wherever the error is in it" {
    const failed = "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"param\":null,\"code\":\"engine_failed\"}}\n\n";
    const errors_told = [_][]const u8{
        "{\"id\":\"e\",\"error\":{\"message\":\"x\",\"code\":500}}",
        "{\"object\":\"error\",\"message\":\"x\",\"code\":500}",
        "{\"error\":\"x\"}",
        "{\"id\":\"e\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"choices\":[],\"error\":{\"message\":\"x\"}}",
        "{\"id\":\"e\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"choices\":[],\"usage\":{},\"error\":\"x\"}",
    };
    for (errors_told) |told| {
        const sent = try std.mem.concat(testing.allocator, u8, &.{ "data: ", told, "\n\n", whole_chunk, "data: [DONE]\n\n" });
        defer testing.allocator.free(sent);
        try expectEnd(failed, "engine_failed", sent);
    }
}

test "the mark of the end is the end, with a line's end behind it or not" {
    const done = "data: [DONE]\n\n";
    for ([_][]const u8{ done, "data: [DONE]", "data: [DONE]\n", done ++ done, done ++ whole_chunk }) |sent| try expectEnd(done, null, sent);
    try expectEnd("data:[DONE]\n\n", null, "data:[DONE]");
}

test "an error that is null is none" {
    const chunk = "data: {\"id\":\"chatcmpl_X\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"choices\":[],\"error\":null}\n\n";
    try expectEnd(chunk ++ "data: [DONE]\n\n", null, chunk ++ "data: [DONE]\n\n");
}

test "usage that an engine tells of each choice leaves as one, of all, right before the end" {
    const head = "data: {\"id\":\"chatcmpl_X\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"choices\":[";
    const told = head ++ "],\"usage\":{\"completion_tokens\":2,\"prompt_tokens\":7,\"total_tokens\":9}}\n\n";
    const all = head ++ "],\"usage\":{\"completion_tokens\":4,\"prompt_tokens\":7,\"total_tokens\":11}}\n\n";
    const late = head ++ "{}]}\n\n";
    const done = "data: [DONE]\n\n";
    try expectEnd(told ++ done, null, told ++ done);
    try expectEnd(late ++ all ++ done, null, told ++ late ++ told ++ done);
    try expectEnd(late ++ ": x\n\n" ++ told ++ "data: [DONE]\n\n", null, told ++ late ++ ": x\n\n" ++ "data: [DONE]");
    const broken_off = "data: {\"error\":{\"message\":\"The engine broke off the answer\",\"type\":\"server_error\",\"param\":null,\"code\":\"engine_failed\"}}\n\n";
    try expectEnd(broken_off, "engine_failed", told);
}

test "fields that OpenAI's events do not have are left out" {
    try expectEnd(whole_chunk_rewritten ++ "data: [DONE]\n\n", null, "event: x\nid: 1\nretry: 2\n" ++ whole_chunk ++ "event: ping\ndata:\n\n" ++ "data: [DONE]\n\n");
}

test "chunks whose id is no string, or that have none, get the completion's" {
    const named_chunk = "data: {\"id\":\"chatcmpl_X\",\"model\":\"acme/chat\",\"system_fingerprint\":\"F\",\"choices\":[";
    var arena: std.heap.ArenaAllocator = .init(testing.allocator);
    defer arena.deinit();
    for ([_][]const u8{ "\"id\":1,", "\"id\":12,", "\"id\":null,", "" }) |id| {
        var rewriter: Rewriter = .init(arena.allocator(), test_names, .nothing);
        const chunk = try std.mem.concat(arena.allocator(), u8, &.{ "data: {", id, "\"choices\":[{\"id\":null}]}\n\n" });
        const sent = try std.mem.concat(arena.allocator(), u8, &.{ "data: {\"id\":1,\"choices\":[]}\n\n", chunk, chunk, "data: [DONE]\n\n" });
        const wanted = named_chunk ++ "]}\n\n" ++ (named_chunk ++ "{\"id\":null}]}\n\n") ** 2 ++ "data: [DONE]\n\n";
        try testing.expectEqualStrings(wanted, try rewritten(arena.allocator(), &rewriter, sent, 7));
    }
}

test "a stream whose chunks are all unlike each other takes no more memory the longer it is" {
    const chunks = [_][]const u8{
        "data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[]}\n\n",
        "data: {\"id\":\"b\",\"choices\":[1],\"model\":\"n\",\"system_fingerprint\":\"x\"}\n\n",
        "data: {\"choices\":[2],\"usage\":{\"completion_tokens\":1}}\n\n",
        "data: {\"choices\":[],\"usage\":{\"completion_tokens\":1}}\n\n",
        "data: {\"id\":\"c\",\"model\":7,\"choices\":[3]}\n\n",
    };
    for (std.enums.values(@TypeOf(@as(Rewriter, undefined).hidden))) |hidden| {
        var arena: std.heap.ArenaAllocator = .init(testing.allocator);
        defer arena.deinit();
        var rewriter: Rewriter = .init(arena.allocator(), test_names, hidden);
        var out: Text = .{};
        defer out.deinit(testing.allocator);
        var after_some: usize = 0;
        for (0..2000) |round| {
            for (chunks) |chunk| try rewriter.feed(chunk, &out, testing.allocator);
            out.clearRetainingCapacity();
            if (round == 10) after_some = arena.queryCapacity();
        }
        try testing.expectEqual(after_some, arena.queryCapacity());
        try testing.expect(rewriter.code == null);
    }
}

test "members that run into each other are no chunk" {
    const sent = "data: {\"id\":\"e\",\"model\":\"id\",\"choices\":[]}\n\ndata: {\"model\":\"id\":\"e\",\"choices\":[]}\n\n";
    var arena: std.heap.ArenaAllocator = .init(testing.allocator);
    defer arena.deinit();
    var rewriter: Rewriter = .init(arena.allocator(), test_names, .nothing);
    _ = try rewritten(arena.allocator(), &rewriter, sent, sent.len);
    try testing.expectEqualStrings("engine_failed", rewriter.code.?);
}
