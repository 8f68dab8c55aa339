//! The head of an answer, read in one pass: each look-up by name makes Envoy copy and compare names.

const std = @import("std");
const abi = @import("abi.zig");

/// The texts are copies: the headers may change.
pub const Head = struct {
    status: u16 = 0,
    content_type: []const u8 = "",
    /// 0 where it is not told.
    content_length: u64 = 0,
    retry_after: ?[]const u8 = null,
    /// Whether the body is compressed.
    is_encoded: bool = false,
    /// Names of what is not about the answer, each as often as it is there. Clients would learn from it of the engine, or
    /// what only a gateway can say.
    foreign: []const []const u8 = &.{},

    /// `allocator` is an arena's.
    pub fn read(stream: *abi.Stream, allocator: std.mem.Allocator) !Head {
        var made: Head = .{};
        var foreign: std.ArrayListUnmanaged([]const u8) = .{};
        for (try stream.headers(.response, allocator)) |header| {
            const name, const value = .{ header.key.slice(), header.value.slice() };
            switch (fields.get(name) orelse .foreign) {
                .status => made.status = std.fmt.parseInt(u16, value, 10) catch 0,
                .content_type => if (made.content_type.len == 0) {
                    made.content_type = try allocator.dupe(u8, value);
                },
                .content_length => made.content_length = std.fmt.parseInt(u64, value, 10) catch 0,
                .kept => {},
                .foreign => {
                    if (made.retry_after == null and std.mem.eql(u8, name, "retry-after")) made.retry_after = try allocator.dupe(u8, value);
                    if (std.mem.eql(u8, name, "content-encoding")) made.is_encoded = !std.ascii.eqlIgnoreCase(value, "identity");
                    try foreign.append(allocator, try allocator.dupe(u8, name));
                },
            }
        }
        made.foreign = foreign.items;
        return made;
    }
};

const Field = enum { status, content_type, content_length, kept, foreign };

const fields: std.StaticStringMap(Field) = .initComptime(.{
    .{ ":status", .status },         .{ "content-type", .content_type }, .{ "content-length", .content_length },
    .{ "transfer-encoding", .kept }, .{ "cache-control", .kept },        .{ "date", .kept },
    .{ "server", .kept }, // Envoy's own in any case
});
