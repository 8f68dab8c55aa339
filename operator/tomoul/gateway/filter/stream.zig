//! Server-sent events of an answer, rewritten as they pass: one id in all chunks, usage only for who asked, a broken end
//! never like a clean one.

const std = @import("std");
const ChunkNames = @import("chunk_names.zig").ChunkNames;
const Choices = @import("choices.zig").Choices;
const completion = @import("completion.zig");
const errors = @import("errors.zig");
const events = @import("events.zig");
const failures = @import("failure.zig");
const json = @import("json.zig");
const text = @import("text.zig");
const Text = text.Text;
const Usage = @import("usage.zig").Usage;

/// Usage that the client did not ask for and must not see.
pub const Hidden = enum { nothing, all, each_but_the_last };

/// The members of the chunk at hand.
threadlocal var chunk_members: json.Members = .{};
/// The longest line that a stream may have: more than any engine's, and not all memory.
const max_line = 64 * 1024 * 1024;

pub const Rewriter = struct {
    /// An arena's: what a chunk needs for itself is not for it, since a stream has any number of them.
    allocator: std.mem.Allocator,
    hidden: Hidden,
    /// What all chunks say of the completion; null for another gateway's answer, which has counted the tokens
    /// and keeps the contract, but for the usage that only this gateway asked for.
    names: ?ChunkNames,

    /// The start of a line that has not ended yet: chunks do not end where lines do.
    rest: Text = .{},
    done: bool,
    /// Whether an event was left out, the empty line after which is still to come.
    dropped: bool = false,
    /// Whether what has left ends with a whole event.
    between_events: bool = true,
    has_token: bool = false,
    /// How many there were, each with about one token.
    chunks: u64 = 0,
    usage: ?Usage = null,
    /// Completion tokens that chunks without choices told of: llama.cpp sends one for each choice that has ended.
    completed: ?u64 = null,
    /// Those that chunks told beside their choice.
    of_choices: Choices = .{},
    /// Code of an error that the engine sent as an event, and its status's word.
    code: ?[]const u8 = null,
    code_label: ?[]const u8 = null,
    /// Whether the answer's status stands: its headers have left, or a chunk has come. Until then what goes wrong is an
    /// answer of its own, `failed`, and no event.
    committed: bool = true,
    failed: ?failures.Normal = null,
    /// Whether the line at hand may tell of an error.
    may_be_error: bool = false,
    /// The chunk that tells the tokens of all choices, until the end comes: llama.cpp tells of each choice as that ends.
    last: Text = .{},

    pub fn init(allocator: std.mem.Allocator, names: ?completion.Names, hidden: Hidden) Rewriter {
        return .{ .allocator = allocator, .names = if (names) |told| .{ .names = told } else null, .hidden = hidden, .done = names == null };
    }

    /// Takes in a chunk; what may leave is appended to `out`.
    pub fn feed(self: *Rewriter, chunk: []const u8, out: *Text, to: std.mem.Allocator) !void {
        var left = chunk;
        if (self.rest.items.len > 0) {
            const end = std.mem.indexOfScalar(u8, left, '\n') orelse return self.keep(left, out, to);
            try self.rest.appendSlice(self.allocator, left[0 .. end + 1]);
            try self.line(self.rest.items, out, to);
            self.rest.clearRetainingCapacity();
            left = left[end + 1 ..];
        }
        while (std.mem.indexOfScalar(u8, left, '\n')) |end| {
            try self.line(left[0 .. end + 1], out, to);
            left = left[end + 1 ..];
        }
        try self.keep(left, out, to);
    }

    /// Keeps the start of a line until its end comes.
    fn keep(self: *Rewriter, start: []const u8, out: *Text, to: std.mem.Allocator) !void {
        if (self.isOver()) return;
        if (self.rest.items.len + start.len > max_line) return self.breakOff(out, to);
        try self.rest.appendSlice(self.allocator, start);
    }

    /// Whether nothing may follow.
    fn isOver(self: *const Rewriter) bool {
        return self.done and self.names != null and self.between_events;
    }

    /// A comment that may leave now: only whole lines have left, and an empty one would end an event that has begun.
    pub fn comment(self: *const Rewriter) []const u8 {
        return if (self.between_events) ":\n\n" else ":\n";
    }

    /// The end. Without `[DONE]` the engine stopped in the middle, which must not look as if it had finished.
    pub fn finish(self: *Rewriter, out: *Text, to: std.mem.Allocator) !void {
        if (self.names == null) return out.appendSlice(to, self.rest.items);
        if (events.isDone(self.rest.items)) {
            try self.rest.append(self.allocator, '\n');
            try self.line(self.rest.items, out, to);
        }
        if (!self.done) return self.breakOff(out, to);
        if (!self.between_events) try out.append(to, '\n');
    }

    /// Ends the answer where its engine has failed; nothing leaves after it.
    pub fn breakOff(self: *Rewriter, out: *Text, to: std.mem.Allocator) !void {
        const code = "engine_failed";
        const body = try errors.body(self.allocator, 502, "\"The engine broke off the answer\"", "null", "\"" ++ code ++ "\"", "");
        self.code = code;
        self.done = true;
        self.rest.clearRetainingCapacity();
        if (!self.committed) self.failed = .{ .body = body, .code = code, .status = 502, .word = code };
        if (!self.between_events) try out.append(to, '\n');
        self.between_events = true;
        for ([_][]const u8{ events.data ++ " ", body, "\n\n" }) |piece| try out.appendSlice(to, piece);
    }

    /// One line, with its newline.
    fn line(self: *Rewriter, whole: []const u8, out: *Text, to: std.mem.Allocator) !void {
        const blank = whole.len == 1 or (whole.len == 2 and whole[0] == '\r');
        if (self.isOver() or (self.done and self.names != null and !blank)) return;
        if (self.dropped) {
            self.dropped = false;
            if (blank) return;
        }
        const was_between = self.between_events;
        self.between_events = blank;
        if (blank) return out.appendSlice(to, whole);
        if (self.names != null and !text.isUtf8(whole)) return self.breakOff(out, to);
        if (whole[0] == ':') return out.appendSlice(to, whole);
        var start: usize = events.data.len;
        if (std.mem.startsWith(u8, whole, events.data) and whole[start] == ' ') start += 1;
        if (!std.mem.startsWith(u8, whole, events.data) or whole[start] != '{') {
            if (self.names == null) return out.appendSlice(to, whole);
            if (events.isDone(whole)) {
                self.done = true;
                try out.appendSlice(to, self.last.items);
                return out.appendSlice(to, whole);
            }
            if (!events.isUnasked(whole)) return self.breakOff(out, to);
            self.between_events = was_between;
            self.dropped = was_between;
            return;
        }
        self.chunks += 1;
        if (!self.has_token) self.has_token = events.bringsToken(whole[start..]);
        const told = events.told(whole);
        self.may_be_error = told.is_error;
        try if (told.usage) self.metered(whole, start, out, to) else self.named(whole, start, out, to);
        self.committed = true;
    }

    /// A line with usage: counted, and hidden from who did not ask for it.
    fn metered(self: *Rewriter, whole: []const u8, start: usize, out: *Text, to: std.mem.Allocator) !void {
        const members = &chunk_members;
        const chunk = whole[start..];
        if (!members.read(chunk)) return if (self.names == null) out.appendSlice(to, whole) else self.breakOff(out, to);
        const usage = members.of("usage", .object) orelse return self.named(whole, start, out, to);
        if (self.may_be_error and events.isError(members, chunk)) return self.named(whole, start, out, to);
        const choices: []const u8 = if (members.of("choices", .array)) |member| member.raw(chunk) else "";
        const only_usage = choices.len > 0 and json.isEmptyArray(choices);
        var told: Usage = .of(usage.raw(chunk));
        const before = if (only_usage) self.completed else null;
        if (only_usage) {
            if (before) |tokens| told.completion_tokens = tokens +| (told.completion_tokens orelse 0);
            self.completed = told.completion_tokens;
        } else if (told.completion_tokens) |count| told.completion_tokens = try self.of_choices.count(self.allocator, choices, count);
        self.usage = told;
        const hide = switch (self.hidden) {
            .nothing => false,
            .all => true,
            .each_but_the_last => !only_usage,
        };
        if (only_usage and (hide or self.names != null)) {
            if (!hide) try self.keepLast(whole, start, usage.*, if (before != null) told else null, to);
            self.dropped = true;
            self.between_events = true;
            return;
        }
        if (!hide) return self.named(whole, start, out, to);
        var hidden: Text = .{};
        defer hidden.deinit(to);
        try hidden.appendSlice(to, whole[0 .. start + usage.start]);
        try hidden.appendSlice(to, "null");
        try hidden.appendSlice(to, chunk[usage.end..]);
        return self.named(hidden.items, start, out, to);
    }

    /// Keeps a line that tells only usage until the end comes. `all` is that of all choices, where lines before have told
    /// of others.
    fn keepLast(self: *Rewriter, whole: []const u8, start: usize, usage: json.Member, all: ?Usage, to: std.mem.Allocator) !void {
        const chunk = whole[start..];
        var told: Text = .{};
        defer told.deinit(to);
        if (all) |used| {
            try told.appendSlice(to, whole[0 .. start + usage.start]);
            try used.write(&told, to, usage.raw(chunk));
            try told.appendSlice(to, chunk[usage.end..]);
        }
        var last: Text = .{};
        defer last.deinit(to);
        try self.named(if (all != null) told.items else whole, start, &last, to);
        self.last.clearRetainingCapacity();
        try self.last.appendSlice(self.allocator, last.items);
        try self.last.appendSlice(self.allocator, if (std.mem.endsWith(u8, whole, "\r\n")) "\r\n" else "\n");
    }

    /// A line under the completion's id, the model's and the fingerprint.
    fn named(self: *Rewriter, whole: []const u8, start: usize, out: *Text, to: std.mem.Allocator) !void {
        const names = if (self.names) |*names| names else return out.appendSlice(to, whole);
        if (!self.may_be_error and try names.swapAll(whole, out, to)) return;
        const chunk = whole[start..];
        const members = &chunk_members;
        if (!members.read(chunk)) return self.breakOff(out, to);
        if (events.isError(members, chunk)) {
            self.done = true;
            const made = try failures.normal(self.allocator, chunk, try failures.statusOf(self.allocator, chunk));
            self.code, self.code_label = .{ made.code, made.word };
            if (!self.committed) self.failed = made;
            try out.appendSlice(to, whole[0..start]);
            try out.appendSlice(to, made.body);
            return out.appendSlice(to, whole[std.mem.trimRight(u8, whole, "\r\n").len..]);
        }
        const choices = members.of("choices", .array) orelse return self.breakOff(out, to);
        return names.learn(self.allocator, members, choices, whole, start, out, to);
    }
};
