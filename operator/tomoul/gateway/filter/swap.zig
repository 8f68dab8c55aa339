//! What all chunks of a stream have in common, and where in a line it stands: found once, and then looked for there.

const std = @import("std");
const completion = @import("completion.zig");
const text = @import("text.zig");
const Text = text.Text;

/// The longest member that is swapped.
pub const max_own = 512;

/// What stands in every chunk the same, nothing while that is not known, and what takes its place.
pub const Swap = struct {
    own: [max_own]u8 = undefined,
    own_length: usize = 0,
    replacement: Text = .{},
    /// Where in a line it was last.
    at: usize = 0,

    pub fn find(self: *Swap, line: []const u8) ?usize {
        const own = self.own[0..self.own_length];
        if (self.at + own.len <= line.len and std.mem.eql(u8, line[self.at..][0..own.len], own)) return self.at;
        self.at = text.find(line, own) orelse return null;
        return self.at;
    }
};

/// The members that all chunks share.
pub const Shared = enum {
    id,
    model,
    system_fingerprint,

    pub fn key(self: Shared) []const u8 {
        return switch (self) {
            inline else => |each| "\"" ++ @tagName(each) ++ "\"",
        };
    }

    pub fn of(self: Shared, names: completion.Names) []const u8 {
        return switch (self) {
            .id => names.id,
            .model => names.model,
            .system_fingerprint => names.fingerprint,
        };
    }
};
