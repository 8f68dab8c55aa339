//! What becomes of streams whose engine is silent: clients are sent comments, so that nothing on the way takes the
//! connection for dead, until the model's idle time is over. Envoy cannot count that time, since it takes a comment for a
//! sign of life. And of those whose engine has failed and goes on: they are ended.
//!
//! One thread for the process looks at every stream each second; a stream's worker pays a store per chunk.

const std = @import("std");
const abi = @import("abi.zig");

/// What a silent stream is woken for.
pub const Event = enum(u64) { comment, over };

const Clock = struct {
    comment: u64,
    idle: u64,
    /// Nanoseconds since the engine was heard, and of these since the last comment.
    silent: u64 = 0,
    since_comment: u64 = 0,

    fn heard(self: *Clock) void {
        self.silent = 0;
        self.since_comment = 0;
    }

    fn passed(self: *Clock, nanoseconds: u64) ?Event {
        self.silent +|= nanoseconds;
        self.since_comment +|= nanoseconds;
        if (self.silent >= self.idle) return .over;
        if (self.since_comment < self.comment) return null;
        self.since_comment = 0;
        return .comment;
    }
};

/// One stream's entry among those that are watched; must not move from `start` to `stop`.
pub const Watch = struct {
    node: std.DoublyLinkedList.Node = .{},
    scheduler: ?*abi.Scheduler = null,
    spoke: std.atomic.Value(bool) = .init(false),
    clock: Clock = undefined,

    /// Begins to watch. Both times in seconds, with no comments at 0.
    pub fn start(self: *Watch, stream: *abi.Stream, comment: u64, idle: u64) !void {
        if (comment == 0 or comment >= idle) return; // Envoy counts the idle time itself
        try self.run(stream, .{ .comment = comment *| std.time.ns_per_s, .idle = idle *| std.time.ns_per_s });
    }

    /// From now on there are no comments, and what is over in `seconds` unless it is stopped before.
    pub fn endIn(self: *Watch, stream: *abi.Stream, seconds: u64) !void {
        self.stop();
        try self.run(stream, .{ .comment = std.math.maxInt(u64), .idle = seconds *| std.time.ns_per_s });
    }

    fn run(self: *Watch, stream: *abi.Stream, clock: Clock) !void {
        const scheduler = stream.scheduler() orelse return error.NoScheduler;
        errdefer scheduler.delete();
        self.clock = clock;
        self.spoke = .init(false);
        try begin();
        mutex.lock();
        defer mutex.unlock();
        self.scheduler = scheduler;
        list.append(&self.node);
    }

    pub fn isRunning(self: *const Watch) bool {
        return self.scheduler != null;
    }

    /// The engine has sent something.
    pub fn heard(self: *Watch) void {
        self.spoke.store(true, .monotonic);
    }

    /// Once this is back no event is sent any more; one that was sent may still arrive.
    pub fn stop(self: *Watch) void {
        const scheduler = self.scheduler orelse return;
        {
            mutex.lock();
            defer mutex.unlock();
            list.remove(&self.node);
            self.scheduler = null;
        }
        scheduler.delete();
    }
};

// Under the lock there is nothing that can panic, which would leave it held.
var mutex: std.Thread.Mutex = .{};
var list: std.DoublyLinkedList = .{};
var begun = false;

/// Starts the thread, which runs as long as the process: the module is never unloaded.
fn begin() !void {
    {
        mutex.lock();
        defer mutex.unlock();
        if (begun) return;
        begun = true;
    }
    errdefer {
        mutex.lock();
        begun = false;
        mutex.unlock();
    }
    (try std.Thread.spawn(.{}, watch, .{})).detach();
}

fn watch() void {
    var before = now();
    while (true) {
        std.Thread.sleep(std.time.ns_per_s);
        const time = now();
        look(time -| before);
        before = time;
    }
}

fn look(passed: u64) void {
    mutex.lock();
    defer mutex.unlock();
    var next = list.first;
    while (next) |node| : (next = node.next) {
        const each: *Watch = @fieldParentPtr("node", node);
        if (each.spoke.swap(false, .monotonic)) {
            each.clock.heard();
            continue;
        }
        const event = each.clock.passed(passed) orelse continue;
        if (each.scheduler) |scheduler| scheduler.commit(@intFromEnum(event));
    }
}

fn now() u64 {
    const time = std.posix.clock_gettime(.MONOTONIC) catch return 0;
    return @as(u64, @bitCast(@as(i64, time.sec))) *| std.time.ns_per_s +| @as(u64, @bitCast(@as(i64, time.nsec)));
}

test "a silent stream is due for comments, then over" {
    const second = std.time.ns_per_s;
    var clock: Clock = .{ .comment = 2 * second, .idle = 5 * second };
    var seen: [7]?Event = undefined;
    for (&seen) |*event| event.* = clock.passed(second);
    try std.testing.expectEqualSlices(?Event, &.{ null, .comment, null, .comment, .over, .over, .over }, &seen);
    clock.heard();
    try std.testing.expectEqual(null, clock.passed(second));
    try std.testing.expectEqual(Event.comment, clock.passed(second));
}
