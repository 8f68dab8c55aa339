//! An answer in one piece: under the completion's id and the model's, and with the members that OpenAI's answers always
//! have.

const std = @import("std");
const json = @import("json.zig");
const text = @import("text.zig");
const Usage = @import("stream.zig").Usage;

/// What an answer is to say of itself, each as JSON.
pub const Names = struct { id: []const u8, model: []const u8, fingerprint: []const u8 };

// A worker's, since to make 12 KB anew for every answer is more work than to read it.
threadlocal var answer: json.Members = .{};
threadlocal var inner: json.Members = .{};

/// A null body is to stay as it is.
pub const Rewritten = struct { body: ?[]const u8, usage: Usage = .{} };

pub fn rewritten(allocator: std.mem.Allocator, answered: []const u8, names: Names) !Rewritten {
    const members = &answer;
    if (!members.read(answered)) return .{ .body = null };
    var made: text.Text = .{};
    try made.ensureTotalCapacity(allocator, answered.len + 256);
    var from: usize = 0;
    for (members.items()) |*member| {
        const instead = if (is(member, "id", .string))
            names.id
        else if (is(member, "model", .string))
            names.model
        else if (std.mem.eql(u8, member.name, "system_fingerprint"))
            names.fingerprint
        else
            null;
        if (instead == null and !is(member, "choices", .array)) continue;
        try made.appendSlice(allocator, answered[from..member.start]);
        if (instead) |name| {
            try made.appendSlice(allocator, name);
        } else try completeChoices(allocator, &made, member.raw(answered));
        from = member.end;
        if (is(member, "id", .string) and members.get("system_fingerprint") == null) {
            try made.appendSlice(allocator, ",\"system_fingerprint\":");
            try made.appendSlice(allocator, names.fingerprint);
        }
    }
    try made.appendSlice(allocator, answered[from..]);
    const usage = members.of("usage", .object);
    return .{ .body = made.items, .usage = if (usage) |member| .of(member.raw(answered)) else .{} };
}

fn is(member: *const json.Member, name: []const u8, kind: json.Kind) bool {
    return member.kind == kind and std.mem.eql(u8, member.name, name);
}

/// Appends the array of choices, each with `logprobs` and its message with `refusal`.
fn completeChoices(allocator: std.mem.Allocator, made: *text.Text, choices: []const u8) !void {
    var problem: json.Problem = .{};
    var elements: json.Elements = .of(choices, &problem);
    var from: usize = 0;
    const members = &inner;
    while (elements.next()) |element| {
        const choice = choices[element.start..element.end];
        if (element.kind != .object or !members.read(choice)) continue;
        try made.appendSlice(allocator, choices[from..element.start]);
        from = element.end;
        var at: usize = 0;
        if (members.get("logprobs") == null) at = try appendFirst(allocator, made, choice, "\"logprobs\":null", members.count == 0);
        if (members.of("message", .object)) |message| {
            const raw = message.raw(choice);
            const start = message.start;
            if (members.read(raw) and members.get("refusal") == null) {
                try made.appendSlice(allocator, choice[at..start]);
                at = start + try appendFirst(allocator, made, raw, "\"refusal\":null", members.count == 0);
            }
        }
        try made.appendSlice(allocator, choice[at..]);
    }
    try made.appendSlice(allocator, choices[from..]);
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
        "{\"model\":\"M\", \"id\" : \"I\",\"system_fingerprint\":\"F\",\"usage\":{\"prompt_tokens\":3}} ",
        "{\"model\":\"m\", \"id\" : \"x\",\"usage\":{\"prompt_tokens\":3}} ",
    );
    try expectRewritten("{\"id\":\"I\",\"system_fingerprint\":\"F\"}", "{\"id\":\"x\",\"system_fingerprint\":\"fp\"}");
    try expectRewritten("{\"id\":\"I\",\"system_fingerprint\":\"F\"}", "{\"id\":\"x\",\"system_fingerprint\":null}");
    try expectRewritten("{}", "{}");
}

test "choices get what OpenAI's always have, and keep what they have" {
    try expectRewritten(
        "{\"choices\":[ {\"logprobs\":null,\"index\":0,\"message\":{\"refusal\":null,\"content\":\"]}\"}} , {\"logprobs\":null} ]}",
        "{\"choices\":[ {\"index\":0,\"message\":{\"content\":\"]}\"}} , {} ]}",
    );
    const whole = "{\"choices\":[{\"message\":{\"refusal\":\"no\"},\"logprobs\":{\"content\":[]}},1]}";
    try expectRewritten(whole, whole);
    try expectRewritten(
        "{\"choices\":[{\"message\":{\"refusal\":null},\"logprobs\":null}]}",
        "{\"choices\":[{\"message\":{},\"logprobs\":null}]}",
    );
}

test "what is no JSON stays" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    for ([_][]const u8{ "", "no", "[]", "{\"id\":" }) |answered| {
        const made = try rewritten(arena.allocator(), answered, .{ .id = "1", .model = "2", .fingerprint = "3" });
        try std.testing.expectEqual(null, made.body);
    }
}
