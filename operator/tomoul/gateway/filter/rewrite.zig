//! What an engine gets: the client's bytes, but for what a client must not control and what the gateway says itself.

const std = @import("std");
const abi = @import("abi.zig");
const bodies = @import("body.zig");
const errors = @import("errors.zig");
const faults = @import("faults.zig");
const json = @import("json.zig");
const text = @import("text.zig");
const Call = @import("call.zig").Call;
const Model = @import("document.zig").Model;

threadlocal var small: bodies.Scratch = .{};
threadlocal var client_options: json.Members = .{};

/// The `stream_options` that make an engine tell its tokens, null where the client's own do or where there is no stream.
/// What of it the client did not ask for is noted in the call.
pub fn meteredOptions(call: *Call, sent: []const u8, members: *const json.Members, model: *const Model) errors.Refused!?[]const u8 {
    var raw: []const u8 = "{}";
    const inner = &client_options;
    inner.count = 0;
    if (members.of("stream_options", .object)) |options| {
        raw = options.raw(sent);
        if (!inner.read(raw))
            return errors.refuse(call, 400, "invalid_json", .{ .param = "stream_options" }, "`stream_options` is not valid: {s}", .{try errors.problem(call.allocator(), inner.problem)});
    }
    var missing: [2][]const u8 = undefined;
    var count: usize = 0;
    for ([_]?[]const u8{ "include_usage", model.usage_option }) |maybe| {
        const name = maybe orelse continue;
        if (inner.get(name)) |member| {
            if (member.kind != .boolean and member.kind != .null) {
                const param = try std.mem.concat(call.allocator(), u8, &.{ "stream_options.", name });
                return errors.refuse(call, 400, "invalid_type", .{ .param = param }, "`{s}` must be a boolean", .{param});
            }
            if (std.mem.eql(u8, member.raw(raw), "true")) continue;
        }
        missing[count] = name;
        count += 1;
    }
    if (count == 0 or !call.is_stream) return null;
    const set = missing[0..count];
    call.hidden = if (contains(set, "include_usage")) .all else .each_but_the_last;
    const allocator = call.allocator();
    var made: text.Text = .{};
    try made.append(allocator, '{');
    for (inner.items()) |member| {
        if (contains(set, member.name)) continue;
        if (made.items.len > 1) try made.append(allocator, ',');
        try made.appendSlice(allocator, raw[member.key..member.end]);
    }
    for (set) |name| {
        if (made.items.len > 1) try made.append(allocator, ',');
        try text.appendQuoted(&made, allocator, name);
        try made.appendSlice(allocator, ":true");
    }
    try made.append(allocator, '}');
    return made.items;
}

/// What the gateway says itself in an engine's body; null leaves the client's as it is.
pub const Own = struct {
    salt: ?[]const u8 = null,
    stream_options: ?[]const u8 = null,
    max_tokens: ?u64 = null,
    seed: ?u64 = null,

    fn isEmpty(self: Own) bool {
        return self.salt == null and self.stream_options == null and self.max_tokens == null and self.seed == null;
    }

    fn replaces(self: Own, name: []const u8) bool {
        return (self.stream_options != null and std.mem.eql(u8, name, "stream_options")) or
            (self.max_tokens != null and std.mem.eql(u8, name, "max_tokens")) or
            (self.seed != null and std.mem.eql(u8, name, "seed"));
    }
};

/// Replaces the body, which `sent` is, in `place` where something has to change: fields removed, the model under its id, what is the gateway's own.
pub fn apply(
    call: *Call,
    place: abi.Body,
    sent: bodies.Whole,
    members: *const json.Members,
    model: *const Model,
    own: Own,
) !void {
    const named = members.get("model").?.inner(sent.bytes);
    var changed = !own.isEmpty() or model.set_fields.len > 0 or !std.mem.eql(u8, named, model.id);
    if (!changed) {
        for (members.items()) |member| changed = changed or isRemoved(model, member.name);
    }
    if (!changed) return;

    const stream = call.stream;
    const buffered, const received = .{ stream.bodySize(.buffered_request), stream.bodySize(.received_request) };
    // Before anything is written where it may be large, since Envoy answers 413 once it holds too much; one piece is small.
    if (sent.is_copy) {
        stream.drain(.buffered_request, buffered);
        stream.drain(.received_request, received);
    }
    var body: bodies.Writer = .{ .stream = stream, .which = place, .small = small.begin() };
    defer small.clear();
    var separator: []const u8 = "{";
    if (own.salt) |value| {
        for ([_][]const u8{ "{\"", model.salt_field.?, "\":\"", value, "\"" }) |piece| try body.write(piece);
        separator = ",";
        for (model.former_salt_fields) |field| {
            for ([_][]const u8{ ",\"", field, "\":\"", value, "\"" }) |piece| try body.write(piece);
        }
    }
    for (model.set_fields) |field| {
        try body.write(separator);
        separator = ",";
        try body.write(try text.quoted(call.allocator(), field.name));
        for ([_][]const u8{ ":", field.value }) |piece| try body.write(piece);
    }
    if (own.stream_options) |options| {
        for ([_][]const u8{ separator, "\"stream_options\":", options }) |piece| try body.write(piece);
        separator = ",";
    }
    inline for (.{ "max_tokens", "seed" }) |name| {
        if (@field(own, name)) |value| {
            var digits: [20]u8 = undefined;
            const number = std.fmt.bufPrint(&digits, "{d}", .{value}) catch unreachable;
            for ([_][]const u8{ separator, "\"" ++ name ++ "\":", number }) |piece| try body.write(piece);
            separator = ",";
        }
    }
    for (members.items()) |member| {
        if (isRemoved(model, member.name) or own.replaces(member.name)) continue;
        try body.write(separator);
        separator = ",";
        if (std.mem.eql(u8, member.name, "model")) {
            try body.write("\"model\":");
            try body.write(try text.quoted(call.allocator(), model.id));
        } else try body.write(sent.bytes[member.key..member.end]);
    }
    try body.write("}");
    faults.at(stream, "rewrite");
    body.flush();
    if (!sent.is_copy) {
        stream.drain(.buffered_request, buffered);
        stream.drain(.received_request, received);
    }
    bodies.setLength(stream, .request, body.written);
}

fn isRemoved(model: *const Model, name: []const u8) bool {
    if (model.salt_field) |field| {
        if (std.mem.eql(u8, field, name)) return true;
    }
    for (model.set_fields) |field| {
        if (std.mem.eql(u8, field.name, name)) return true;
    }
    return contains(model.former_salt_fields, name) or contains(model.remove_fields, name);
}

fn contains(names: []const []const u8, name: []const u8) bool {
    for (names) |each| {
        if (std.mem.eql(u8, each, name)) return true;
    }
    return false;
}
