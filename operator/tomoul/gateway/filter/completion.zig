//! An answer in one piece: under the completion's id and the model's, and with the members that OpenAI's answers always
//! have.

const std = @import("std");
const json = @import("json.zig");
const text = @import("text.zig");
const Usage = @import("usage.zig").Usage;

/// What an answer is to say of itself, each as JSON.
pub const Names = struct { id: []const u8, model: []const u8, fingerprint: []const u8 };

// A worker's, since to make 12 KB anew for every answer is more work than to read it.
threadlocal var answer: json.Members = .{};
threadlocal var inner: json.Members = .{};

/// The body is null where the answer is no completion: not one object of JSON with an array of choices, each an object.
pub const Rewritten = struct { body: ?[]const u8, usage: Usage = .{} };

pub fn rewritten(allocator: std.mem.Allocator, answered: []const u8, names: Names) !Rewritten {
    const members = &answer;
    if (!members.read(answered) or !text.isUtf8(answered)) return .{ .body = null };
    if (members.of("choices", .array) == null) return .{ .body = null };
    var made: text.Text = .{};
    try made.ensureTotalCapacity(allocator, answered.len + 256);
    var from: usize = members.list[0].key;
    try made.appendSlice(allocator, answered[0..from]);
    const fingerprint: ?[]const u8 = if (members.get("system_fingerprint") == null) names.fingerprint else null;
    const has_id = members.get("id") != null;
    if (!has_id) try appendMember(allocator, &made, "id", names.id);
    if (!has_id) if (fingerprint) |own| try appendMember(allocator, &made, "system_fingerprint", own);
    if (members.get("model") == null) try appendMember(allocator, &made, "model", names.model);
    for (members.items()) |*member| {
        const which = std.meta.stringToEnum(Told, member.name) orelse continue;
        try made.appendSlice(allocator, answered[from..member.start]);
        from = member.end;
        switch (which) {
            .id => {
                try made.appendSlice(allocator, names.id);
                if (fingerprint) |own| {
                    try made.appendSlice(allocator, ",\"system_fingerprint\":");
                    try made.appendSlice(allocator, own);
                }
            },
            .model => try made.appendSlice(allocator, names.model),
            .system_fingerprint => try made.appendSlice(allocator, names.fingerprint),
            .choices => if (!try completeChoices(allocator, &made, member.raw(answered))) return .{ .body = null },
        }
    }
    try made.appendSlice(allocator, answered[from..]);
    const usage = members.of("usage", .object);
    return .{ .body = made.items, .usage = if (usage) |member| .of(member.raw(answered)) else .{} };
}

/// What the gateway has a say in.
const Told = enum { id, model, system_fingerprint, choices };

/// Appends a member and the comma behind it.
fn appendMember(allocator: std.mem.Allocator, made: *text.Text, name: []const u8, value: []const u8) !void {
    for ([_][]const u8{ "\"", name, "\":", value, "," }) |piece| try made.appendSlice(allocator, piece);
}

/// Appends the array of choices, each with `logprobs` and its message with `refusal`; false where one is no object.
fn completeChoices(allocator: std.mem.Allocator, made: *text.Text, choices: []const u8) !bool {
    var problem: json.Problem = .{};
    var reader: json.Reader = .{ .text = choices, .at = 1, .problem = &problem };
    var from: usize = 0;
    const members = &inner;
    while (reader.peek() != ']') {
        if (from > 0) {
            if (reader.peek() != ',') return false;
            reader.at += 1;
            _ = reader.peek();
        }
        const start = reader.at;
        members.readNext(&reader) catch return false;
        const end = reader.at;
        if (members.get("logprobs") == null) {
            try made.appendSlice(allocator, choices[from..start]);
            from = start + try appendFirst(allocator, made, choices[start..end], "\"logprobs\":null", members.count == 0);
        }
        if (members.of("message", .object)) |message| {
            const raw, const at = .{ message.raw(choices), message.start };
            if (members.read(raw) and members.get("refusal") == null) {
                try made.appendSlice(allocator, choices[from..at]);
                from = at + try appendFirst(allocator, made, raw, "\"refusal\":null", members.count == 0);
            }
        }
        try made.appendSlice(allocator, choices[from..end]);
        from = end;
    }
    try made.appendSlice(allocator, choices[from..]);
    return true;
}

/// Appends the start of `object` with `member` as its first one; how much of the object that was.
fn appendFirst(allocator: std.mem.Allocator, made: *text.Text, object: []const u8, member: []const u8, alone: bool) !usize {
    try made.append(allocator, object[0]);
    try made.appendSlice(allocator, member);
    if (!alone) try made.append(allocator, ',');
    return 1;
}

fn expectRewritten(wanted: []const u8, answered: []const u8) !void {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const made = try rewritten(arena.allocator(), answered, .{ .id = "\"I\"", .model = "\"M\"", .fingerprint = "\"F\"" });
    try std.testing.expectEqualStrings(wanted, made.body.?);
}

test "a completion keeps all but its names" {
    try expectRewritten(
        "{\"model\":\"M\", \"id\" : \"I\",\"system_fingerprint\":\"F\",\"choices\":[],\"usage\":{\"prompt_tokens\":3}} ",
        "{\"model\":\"m\", \"id\" : \"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":3}} ",
    );
    const whole = "{\"model\":\"M\",\"choices\":[],\"id\":\"I\",\"system_fingerprint\":\"F\"}";
    try expectRewritten(whole, "{\"model\":\"m\",\"choices\":[],\"id\":\"x\",\"system_fingerprint\":\"fp\"}");
    try expectRewritten(whole, "{\"model\":null,\"choices\":[],\"id\":7,\"system_fingerprint\":null}");
}

test "a completion without names gets them" {
    try expectRewritten(
        "{ \"id\":\"I\",\"system_fingerprint\":\"F\",\"model\":\"M\",\"choices\":[]}",
        "{ \"choices\":[]}",
    );
    try expectRewritten(
        "{\"id\":\"I\",\"model\":\"M\",\"system_fingerprint\":\"F\",\"choices\":[]}",
        "{\"system_fingerprint\":\"f\",\"choices\":[]}",
    );
}

test "choices get what OpenAI's always have, and keep what they have" {
    const own = "{\"id\":\"I\",\"system_fingerprint\":\"F\",\"model\":\"M\",";
    try expectRewritten(
        own ++ "\"choices\":[ {\"logprobs\":null,\"index\":0,\"message\":{\"refusal\":null,\"content\":\"]}\"}} , {\"logprobs\":null} ]}",
        "{\"choices\":[ {\"index\":0,\"message\":{\"content\":\"]}\"}} , {} ]}",
    );
    const whole = "\"choices\":[{\"message\":{\"refusal\":\"no\"},\"logprobs\":{\"content\":[]}}]}";
    try expectRewritten(own ++ whole, "{" ++ whole);
    try expectRewritten(
        own ++ "\"choices\":[{\"message\":{\"refusal\":null},\"logprobs\":null}]}",
        "{\"choices\":[{\"message\":{},\"logprobs\":null}]}",
    );
}

test "what is no completion is none" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const none = [_][]const u8{
        "", "no", "[]", "{\"id\":", "{}", "{\"choices\":null}", "{\"choices\":[1]}", "{\"choices\":[{},,{}]}", "{\"choices\":[],\"a\":\"\xff\"}",
    };
    for (none) |answered| {
        const made = try rewritten(arena.allocator(), answered, .{ .id = "1", .model = "2", .fingerprint = "3" });
        try std.testing.expectEqual(null, made.body);
    }
}
