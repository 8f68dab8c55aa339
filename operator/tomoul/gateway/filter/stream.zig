//! Server-sent events of an answer, rewritten as they pass: one id in all chunks, usage only for who asked, a broken end
//! never like a clean one.

const std = @import("std");
const completion = @import("completion.zig");
const errors = @import("errors.zig");
const ids = @import("ids.zig");
const json = @import("json.zig");
const text = @import("text.zig");
const Text = text.Text;

/// Tokens as the engine told them.
pub const Usage = struct {
    prompt_tokens: ?u64 = null,
    completion_tokens: ?u64 = null,
    cached_tokens: ?u64 = null,

    /// Of `raw`, the JSON of a `usage` object.
    pub fn of(raw: []const u8) Usage {
        return .{
            .prompt_tokens = tokens(raw, "\"prompt_tokens\""),
            .completion_tokens = tokens(raw, "\"completion_tokens\""),
            .cached_tokens = tokens(raw, "\"cached_tokens\""),
        };
    }
};

/// The number that follows the first `key`, at any depth: `cached_tokens` is nested.
fn tokens(raw: []const u8, key: []const u8) ?u64 {
    var at = (std.mem.indexOf(u8, raw, key) orelse return null) + key.len;
    while (at < raw.len and (raw[at] == ':' or raw[at] == ' ')) at += 1;
    var end = at;
    while (end < raw.len and std.ascii.isDigit(raw[end])) end += 1;
    return std.fmt.parseInt(u64, raw[at..end], 10) catch null;
}

/// Usage that the client did not ask for and must not see.
pub const Hidden = enum { nothing, all, each_but_the_last };

const data = "data:";
const done_mark = "[DONE]";

/// The members of the chunk at hand.
threadlocal var chunk_members: json.Members = .{};
const max_own = 512;
const fingerprint_key = "\"system_fingerprint\"";

/// What stands in every chunk the same, and what stands there instead.
const Swap = struct {
    own: [max_own]u8 = undefined,
    own_length: usize = 0,
    instead: []const u8 = "",
    /// Where in a line it was last.
    at: usize = 0,

    fn find(self: *Swap, line: []const u8) ?usize {
        const own = self.own[0..self.own_length];
        if (self.at + own.len <= line.len and std.mem.eql(u8, line[self.at..][0..own.len], own)) return self.at;
        self.at = std.mem.indexOf(u8, line, own) orelse return null;
        return self.at;
    }
};

/// The members that all chunks share.
const Shared = enum { id, model, system_fingerprint };

pub const Rewriter = struct {
    allocator: std.mem.Allocator,
    hidden: Hidden,
    /// What all chunks say of the completion; null for another gateway's answer, which has counted the tokens
    /// and keeps the contract, but for the usage that only this gateway asked for.
    names: ?completion.Names,

    /// The start of a line that has not ended yet: chunks do not end where lines do.
    rest: Text = .{},
    done: bool,
    /// Whether an event was left out, the empty line after which is still to come.
    dropped: bool = false,
    /// Whether what has left ends with a whole event.
    between_events: bool = true,
    has_token: bool = false,
    usage: ?Usage = null,
    swaps: std.EnumArray(Shared, ?Swap) = .initFill(null),
    /// Code of an error that the engine sent as an event.
    code: ?[]const u8 = null,

    pub fn init(allocator: std.mem.Allocator, names: ?completion.Names, hidden: Hidden) Rewriter {
        return .{ .allocator = allocator, .names = names, .hidden = hidden, .done = names == null };
    }

    /// Takes in a chunk; what may leave is appended to `out`.
    pub fn feed(self: *Rewriter, chunk: []const u8, out: *Text, to: std.mem.Allocator) !void {
        var left = chunk;
        if (self.rest.items.len > 0) {
            const end = std.mem.indexOfScalar(u8, left, '\n') orelse return self.rest.appendSlice(self.allocator, left);
            try self.rest.appendSlice(self.allocator, left[0 .. end + 1]);
            try self.line(self.rest.items, out, to);
            self.rest.clearRetainingCapacity();
            left = left[end + 1 ..];
        }
        while (std.mem.indexOfScalar(u8, left, '\n')) |end| {
            try self.line(left[0 .. end + 1], out, to);
            left = left[end + 1 ..];
        }
        try self.rest.appendSlice(self.allocator, left);
    }

    /// A comment that may leave now: only whole lines have left, and an empty one would end an event that has begun.
    pub fn comment(self: *const Rewriter) []const u8 {
        return if (self.between_events) ":\n\n" else ":\n";
    }

    /// The end. Without `[DONE]` the engine stopped in the middle, which must not look as if it had finished.
    pub fn finish(self: *Rewriter, out: *Text, to: std.mem.Allocator) !void {
        try out.appendSlice(to, self.rest.items);
        if (self.done) return;
        self.code = "engine_failed";
        try out.appendSlice(to, "\n\ndata: ");
        try out.appendSlice(to, try errors.body(self.allocator, 502, "\"The engine broke off the answer\"", "null", "\"engine_failed\"", ""));
        try out.appendSlice(to, "\n\n");
    }

    /// One line, with its newline.
    fn line(self: *Rewriter, whole: []const u8, out: *Text, to: std.mem.Allocator) !void {
        const blank = whole.len == 1 or (whole.len == 2 and whole[0] == '\r');
        if (self.dropped) {
            self.dropped = false;
            if (blank) return;
        }
        self.between_events = blank;
        if (!std.mem.startsWith(u8, whole, data)) return out.appendSlice(to, whole);
        var start: usize = data.len;
        if (whole[start] == ' ') start += 1;
        if (whole[start] != '{') {
            if (std.mem.startsWith(u8, whole[start..], done_mark)) self.done = true;
            return out.appendSlice(to, whole);
        }
        if (!self.has_token) self.has_token = bringsToken(whole[start..]);
        if (std.mem.indexOf(u8, whole, "\"usage\"") != null) return self.metered(whole, start, out, to);
        return self.named(whole, start, out, to);
    }

    /// A line with usage: counted, and hidden from who did not ask for it.
    fn metered(self: *Rewriter, whole: []const u8, start: usize, out: *Text, to: std.mem.Allocator) !void {
        const members = &chunk_members;
        const chunk = whole[start..];
        if (!members.read(chunk)) return self.named(whole, start, out, to);
        const usage = members.of("usage", .object) orelse return self.named(whole, start, out, to);
        self.usage = .of(usage.raw(chunk));
        const only_usage = if (members.of("choices", .array)) |choices| isEmptyArray(choices.raw(chunk)) else false;
        const hide = switch (self.hidden) {
            .nothing => false,
            .all => true,
            .each_but_the_last => !only_usage,
        };
        if (!hide) return self.named(whole, start, out, to);
        if (only_usage) {
            self.dropped = true;
            self.between_events = true;
            return;
        }
        var hidden: Text = .{};
        defer hidden.deinit(self.allocator);
        try hidden.appendSlice(self.allocator, whole[0 .. start + usage.start]);
        try hidden.appendSlice(self.allocator, "null");
        try hidden.appendSlice(self.allocator, chunk[usage.end..]);
        return self.named(hidden.items, start, out, to);
    }

    /// A line under the completion's id, the model's and the fingerprint.
    fn named(self: *Rewriter, whole: []const u8, start: usize, out: *Text, to: std.mem.Allocator) !void {
        const names = self.names orelse return out.appendSlice(to, whole);
        if (self.swaps.get(.id) == null) return self.learned(names, whole, start, out, to);
        // An engine that tells no fingerprint gets one beside the id, unless it tells one after all.
        if (self.swaps.get(.system_fingerprint) == null and std.mem.indexOf(u8, whole, fingerprint_key) != null)
            return self.learned(names, whole, start, out, to);
        var found: [std.enums.values(Shared).len]*Swap = undefined;
        var count: usize = 0;
        for (&self.swaps.values) |*maybe| {
            const swap = if (maybe.*) |*one| one else continue;
            // Inside a string of the answer the quotes would be escaped, so this finds the member and nothing else.
            const at = swap.find(whole) orelse return self.learned(names, whole, start, out, to);
            var place = count;
            while (place > 0 and found[place - 1].at > at) : (place -= 1) found[place] = found[place - 1];
            found[place] = swap;
            count += 1;
        }
        var from: usize = 0;
        for (found[0..count]) |swap| {
            try out.appendSlice(to, whole[from..swap.at]);
            try out.appendSlice(to, swap.instead);
            from = swap.at + swap.own_length;
        }
        return out.appendSlice(to, whole[from..]);
    }

    /// The same for a line that is not like those before: it is read as JSON.
    fn learned(self: *Rewriter, names: completion.Names, whole: []const u8, start: usize, out: *Text, to: std.mem.Allocator) !void {
        const chunk = whole[start..];
        const members = &chunk_members;
        if (!members.read(chunk)) return out.appendSlice(to, whole);
        if (members.count > 0 and std.mem.eql(u8, members.list[0].name, "error")) {
            self.done = true;
            const made = try errors.normal(self.allocator, chunk, 500);
            self.code = made.code;
            try out.appendSlice(to, whole[0..start]);
            try out.appendSlice(to, made.body);
            return out.appendSlice(to, whole[std.mem.trimRight(u8, whole, "\r\n").len..]);
        }
        var from: usize = 0;
        try out.appendSlice(to, whole[0..start]);
        const untold = members.get("system_fingerprint") == null;
        if (untold) self.swaps.set(.system_fingerprint, null);
        for (members.items()) |*member| {
            const which = std.meta.stringToEnum(Shared, member.name) orelse continue;
            if (which != .system_fingerprint and member.kind != .string) continue;
            const name = switch (which) {
                .id => names.id,
                .model => names.model,
                .system_fingerprint => names.fingerprint,
            };
            if (which == .model and std.mem.eql(u8, member.raw(chunk), name)) continue;
            const more = if (which == .id and untold) &[_][]const u8{ ",", fingerprint_key, ":", names.fingerprint } else &[_][]const u8{ "", "", "", "" };
            const instead = try std.mem.concat(self.allocator, u8, &.{ chunk[member.key..member.start], name, more[0], more[1], more[2], more[3] });
            try out.appendSlice(to, chunk[from..member.key]);
            try out.appendSlice(to, instead);
            from = member.end;
            const own = chunk[member.key..member.end];
            if (own.len > max_own) continue;
            self.swaps.set(which, .{ .own_length = own.len, .instead = instead, .at = start + member.key });
            const place = self.swaps.getPtr(which);
            @memcpy(place.*.?.own[0..own.len], own);
        }
        return out.appendSlice(to, chunk[from..]);
    }
};

fn isEmptyArray(raw: []const u8) bool {
    return std.mem.trim(u8, raw[1 .. raw.len - 1], " \t\r\n").len == 0;
}

/// Whether a chunk brings a token; the first ones say only whose the answer is.
fn bringsToken(chunk: []const u8) bool {
    return filled(chunk, "\"content\":", '"') or filled(chunk, "\"refusal\":", '"') or
        filled(chunk, "\"tool_calls\":", '[') or filled(chunk, "\"reasoning\":", '"') or
        filled(chunk, "\"reasoning_content\":", '"');
}

/// Whether a string or array that is not empty follows the key somewhere.
fn filled(chunk: []const u8, key: []const u8, opening: u8) bool {
    var from: usize = 0;
    while (std.mem.indexOfPos(u8, chunk, from, key)) |found| {
        from = found + key.len;
        const value = std.mem.trimLeft(u8, chunk[from..], " ");
        if (value.len < 2 or value[0] != opening) continue;
        const closing: u8 = if (opening == '[') ']' else '"';
        if (std.mem.trimLeft(u8, value[1..], if (opening == '[') " " else "")[0] != closing) return true;
    }
    return false;
}

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
        "data: {\"id\":\"chatcmpl_X\",\"system_fingerprint\":\"F\",\"choices\":[2]}\n\n" ++
        "data: {\"id\":\"chatcmpl_X\",\"system_fingerprint\":\"F\",\"choices\":[3]}\n\n" ++
        "data: {\"system_fingerprint\":\"F\",\"id\":\"chatcmpl_X\",\"choices\":[4]}\n\ndata: [DONE]\n\n";
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

test "only a chunk with something in it brings a token" {
    try testing.expect(bringsToken("{\"delta\":{\"content\": \"x\"}}"));
    try testing.expect(bringsToken("{\"delta\":{\"tool_calls\":[{}]}}"));
    try testing.expect(bringsToken("{\"delta\":{\"content\":\"\",\"reasoning_content\":\"x\"}}"));
    for ([_][]const u8{ "{\"content\":\"\"}", "{\"content\":null}", "{\"tool_calls\":[ ]}", "{\"content\":\"" }) |chunk|
        try testing.expect(!bringsToken(chunk));
}
