//! What engines' answers take of the gateway's memory while they arrive. As large as one may be, times as many calls as an
//! engine can be had to answer, is more than there is.

const std = @import("std");

/// Of all calls of the process.
var all: std.atomic.Value(usize) = .init(0);

/// Most answers are no larger, and are not counted.
const free_bytes = 64 * 1024;

/// One call's part.
pub const Held = struct {
    bytes: usize = 0,

    /// Whether there is room for it to hold so many, where all together may hold `most`. Without, it holds what it held.
    pub fn hold(self: *Held, bytes: usize, most: usize) bool {
        if (bytes <= @max(self.bytes, free_bytes)) return true;
        const more = bytes - self.bytes;
        if (all.fetchAdd(more, .monotonic) +| more > most) {
            _ = all.fetchSub(more, .monotonic);
            return false;
        }
        self.bytes = bytes;
        return true;
    }

    pub fn release(self: *Held) void {
        if (self.bytes > 0) _ = all.fetchSub(self.bytes, .monotonic);
        self.bytes = 0;
    }
};

test "what all hold together is bounded, and what is let go makes room" {
    const most = 300_000;
    var one: Held = .{};
    var other: Held = .{};
    for ([_]usize{ 1, free_bytes, 200_000, 100_000 }) |bytes| try std.testing.expect(one.hold(bytes, most));
    try std.testing.expectEqual(200_000, one.bytes);
    try std.testing.expect(other.hold(free_bytes, most));
    try std.testing.expect(!other.hold(100_001, most));
    try std.testing.expect(other.hold(100_000, most));
    try std.testing.expect(!one.hold(200_001, most));
    one.release();
    try std.testing.expect(other.hold(most, most));
    other.release();
    try std.testing.expectEqual(0, all.load(.monotonic));
}
