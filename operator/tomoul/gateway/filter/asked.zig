//! The headers of a request that this filter looks at, found in one pass over all: each look-up by name makes Envoy copy and
//! compare names. What no client may say goes on the way.

const std = @import("std");
const abi = @import("abi.zig");

/// A header's first value, and how often it is there.
pub const Field = struct {
    count: usize = 0,
    first: []const u8 = "",
};

/// Valid until the headers change.
pub const Asked = struct {
    path: Field = .{},
    method: Field = .{},
    authorization: Field = .{},
    region: Field = .{},
    forwarded: Field = .{},
    cache: Field = .{},
    content_type: Field = .{},
    content_encoding: Field = .{},
    content_length: Field = .{},
    accept_encoding: Field = .{},
    range: Field = .{},

    /// Reads a request's headers, and removes those that no client may send. `allocator` is an arena's.
    pub fn read(stream: *abi.Stream, allocator: std.mem.Allocator) !Asked {
        var made: Asked = .{};
        for (try stream.headers(.request, allocator)) |header| {
            const name = header.key.slice();
            if (isInternal(name)) {
                // The name is the header's own, which the removal frees.
                stream.removeHeader(.request, try allocator.dupe(u8, name));
                continue;
            }
            const field = made.of(name) orelse continue;
            if (field.count == 0) field.first = header.value.slice();
            field.count += 1;
        }
        return made;
    }

    fn of(self: *Asked, name: []const u8) ?*Field {
        const found = names.get(name) orelse return null;
        return switch (found) {
            inline else => |field| &@field(self, @tagName(field)),
        };
    }
};

const names: std.StaticStringMap(std.meta.FieldEnum(Asked)) = .initComptime(.{
    .{ ":path", .path },
    .{ ":method", .method },
    .{ "authorization", .authorization },
    .{ "x-tomoul-region", .region },
    .{ "x-tomoul-forwarded", .forwarded },
    .{ "x-tomoul-cache", .cache },
    .{ "content-type", .content_type },
    .{ "content-encoding", .content_encoding },
    .{ "content-length", .content_length },
    .{ "accept-encoding", .accept_encoding },
    .{ "range", .range },
});

/// What Envoy takes for its own operator's word, vLLM and SGLang for their router's, and an older gateway, to which a call
/// may be forwarded while a fleet is upgraded, for its own.
fn isInternal(name: []const u8) bool {
    if (name.len < 8 or name[0] != 'x') return false;
    return std.mem.startsWith(u8, name, "x-envoy-") or std.mem.startsWith(u8, name, "x-override-") or
        std.mem.startsWith(u8, name, "x-sglext-") or internal.has(name);
}

const internal: std.StaticStringMap(void) = .initComptime(.{
    .{"x-tomoul-cluster"}, .{"x-tomoul-route"},    .{"x-data-parallel-rank"},
    .{"x-vllm-priority"},  .{"x-smg-routing-key"},
});

test "internal headers are known, and others are found by their names" {
    for ([_][]const u8{ "x-envoy-max-retries", "x-tomoul-cluster", "x-tomoul-route", "x-data-parallel-rank", "x-vllm-priority", "x-override-rid", "x-sglext-ids-framed" }) |name| try std.testing.expect(isInternal(name));
    for ([_][]const u8{ "x-envoy", "x-override", "x-tomoul-region", "authorization", "" }) |name| try std.testing.expect(!isInternal(name));
    var made: Asked = .{};
    try std.testing.expectEqual(&made.cache, made.of("x-tomoul-cache").?);
    try std.testing.expectEqual(null, made.of("accept"));
}
