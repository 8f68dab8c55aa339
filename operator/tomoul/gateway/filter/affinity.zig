//! What keeps a conversation at one host, which has its beginning in the prompt cache: a hash of the tenant and of the
//! client's `prompt_cache_key`, or of the messages up to the first of a user, which stay as the conversation grows.

const std = @import("std");
const json = @import("json.zig");

const max_messages = 16;

pub const Hash = [16]u8;

pub fn hash(tenant: []const u8, sent: []const u8, members: *const json.Members) Hash {
    var state: std.hash.Wyhash = .init(0);
    state.update(tenant);
    state.update("\x00");
    if (members.of("prompt_cache_key", .string)) |key| {
        state.update("\x00");
        state.update(key.inner(sent));
    } else if (members.of("messages", .array)) |messages| {
        state.update(beginning(messages.raw(sent)));
    }
    return std.fmt.bytesToHex(std.mem.toBytes(std.mem.nativeToBig(u64, state.final())), .lower);
}

/// The messages up to the first of a user, at most so many.
fn beginning(messages: []const u8) []const u8 {
    var problem: json.Problem = .{};
    var elements: json.Elements = .of(messages, &problem);
    var end: usize = 0;
    for (0..max_messages) |_| {
        const element = elements.next() orelse break;
        end = element.end;
        var members: json.Members = .{};
        const message = messages[element.start..element.end];
        if (element.kind != .object or !members.read(message)) continue;
        const role = members.of("role", .string) orelse continue;
        if (std.mem.eql(u8, role.inner(message), "user")) break;
    }
    return messages[0..end];
}

fn of(tenant: []const u8, sent: []const u8) !Hash {
    var members: json.Members = .{};
    try std.testing.expect(members.read(sent));
    return hash(tenant, sent, &members);
}

test "a conversation keeps its hash as it grows, and others have another one" {
    const system = "{\"messages\":[{\"role\":\"system\",\"content\":\"Be kind\"},{\"role\":\"user\",\"content\":\"";
    const first = try of("t", system ++ "Hi\"}]}");
    try std.testing.expectEqual(first, try of("t", system ++ "Hi\"},{\"role\":\"assistant\",\"content\":\"Yes?\"}],\"seed\":1}"));
    try std.testing.expect(!std.mem.eql(u8, &first, &try of("t", system ++ "Ho\"}]}")));
    try std.testing.expect(!std.mem.eql(u8, &first, &try of("u", system ++ "Hi\"}]}")));
}

test "a client's key goes before the messages" {
    const one = try of("t", "{\"prompt_cache_key\":\"k\",\"messages\":[1]}");
    try std.testing.expectEqual(one, try of("t", "{\"messages\":[2],\"prompt_cache_key\":\"k\"}"));
    try std.testing.expect(!std.mem.eql(u8, &one, &try of("t", "{\"prompt_cache_key\":\"l\",\"messages\":[1]}")));
}
