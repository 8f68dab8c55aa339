//! What is told of calls, on its way out: lines to standard output, counts to Envoy's metrics. A worker only appends to what
//! it has; one thread for the process takes it up a few times a second while there is something.

const std = @import("std");
const abi_log = @import("abi_log.zig");
const metrics = @import("metrics.zig");
const Facts = @import("facts.zig").Facts;
const Text = @import("text.zig").Text;

const allocator = std.heap.c_allocator;
const interval = 50 * std.time.ns_per_ms;
/// The most bytes of a worker's lines that wait for who reads them: he may never come, and calls go on.
const most_waiting = 64 * 1024 * 1024;

/// One thread's. Under the locks here there is nothing that can panic, which would leave them held.
pub const Worker = struct {
    mutex: std.Thread.Mutex = .{},
    node: std.DoublyLinkedList.Node = .{},
    lines: Text = .{},
    counts: metrics.Counts = .{},

    /// Raises what keeps the thread from being started; nothing would ever leave without it.
    pub fn create() !*Worker {
        try begin();
        const self = try allocator.create(Worker);
        self.* = .{};
        registry.lock();
        defer registry.unlock();
        workers.append(&self.node);
        return self;
    }

    /// A call's line, and its labels as `metrics.keyOf` has them.
    pub fn add(self: *Worker, line: []const u8, key: []const u8, told: *const Facts) !void {
        {
            self.mutex.lock();
            defer self.mutex.unlock();
            const is_lost = self.lines.items.len + line.len > most_waiting;
            if (!is_lost) try self.lines.appendSlice(allocator, line);
            try self.counts.add(allocator, key, told, is_lost);
        }
        if (waiting.load(.monotonic) == 0 and waiting.swap(1, .release) == 0) std.Thread.Futex.wake(&waiting, 1);
    }

    /// Writes what is left at once: the process may end after this.
    pub fn flush(self: *Worker) void {
        writing.lock();
        defer writing.unlock();
        write(self.taken());
    }

    pub fn destroy(self: *Worker) void {
        self.flush();
        {
            registry.lock();
            defer registry.unlock();
            workers.remove(&self.node);
        }
        self.lines.deinit(allocator);
        self.counts.deinit(allocator);
        allocator.destroy(self);
    }

    /// Its lines, in exchange for the spare memory.
    fn taken(self: *Worker) Text {
        self.mutex.lock();
        defer self.mutex.unlock();
        std.mem.swap(Text, &self.lines, &spare);
        defer spare = .{};
        return spare;
    }
};

/// Memory that lines were written from and the next ones go to, since to grow it anew each time is work for every call;
/// under `writing`.
var spare: Text = .{};
const most_spare = 4 * 1024 * 1024;

// Taken in this order: writing, registry, a worker's own. Only `writing` is held while the reader is waited for.
var writing: std.Thread.Mutex = .{};
var registry: std.Thread.Mutex = .{};
var workers: std.DoublyLinkedList = .{};
/// Whether there is something to take up.
var waiting: std.atomic.Value(u32) = .init(0);
var begun = false;
/// Where counts go; the newest configuration's.
var home: ?*Destination = null;

/// Where counts go to, while a configuration lives.
pub const Destination = struct {
    metrics: metrics.Home,
    scheduler: *abi_log.Scheduler,

    pub fn create(config: *abi_log.Config) !*Destination {
        const scheduler = config.scheduler() orelse return error.NoScheduler;
        errdefer scheduler.delete();
        const self = try allocator.create(Destination);
        errdefer allocator.destroy(self);
        self.* = .{ .metrics = try .init(config), .scheduler = scheduler };
        registry.lock();
        defer registry.unlock();
        home = self;
        return self;
    }

    pub fn destroy(self: *Destination) void {
        {
            registry.lock();
            defer registry.unlock();
            if (home == self) home = null;
        }
        self.scheduler.delete();
        allocator.destroy(self);
    }

    /// Takes up all that was counted; on the main thread.
    pub fn collect(self: *Destination) !void {
        while (takeCounts()) |taken| {
            var counts = taken;
            defer counts.deinit(allocator);
            self.metrics.take(&counts);
        }
    }
};

/// Some worker's counts; null if none has any.
fn takeCounts() ?metrics.Counts {
    registry.lock();
    defer registry.unlock();
    var next = workers.first;
    while (next) |node| : (next = node.next) {
        const worker: *Worker = @fieldParentPtr("node", node);
        worker.mutex.lock();
        defer worker.mutex.unlock();
        if (worker.counts.by_labels.count() == 0) continue;
        var taken: metrics.Counts = .{};
        std.mem.swap(metrics.Counts, &taken, &worker.counts);
        return taken;
    }
    return null;
}

/// Starts the thread, which runs as long as the process: the module is never unloaded.
fn begin() !void {
    registry.lock();
    defer registry.unlock();
    if (begun) return;
    (try std.Thread.spawn(.{}, run, .{})).detach();
    begun = true;
}

fn run() void {
    while (true) {
        while (waiting.load(.acquire) == 0) std.Thread.Futex.wait(&waiting, 0);
        std.Thread.sleep(interval);
        waiting.store(0, .release);
        {
            registry.lock();
            defer registry.unlock();
            if (home) |destination| destination.scheduler.commit();
        }
        writing.lock();
        defer writing.unlock();
        while (takeLines()) |lines| write(lines);
    }
}

/// Some worker's lines; null if none has any.
fn takeLines() ?Text {
    registry.lock();
    defer registry.unlock();
    var next = workers.first;
    while (next) |node| : (next = node.next) {
        const worker: *Worker = @fieldParentPtr("node", node);
        const lines = worker.taken();
        if (lines.items.len > 0) return lines;
        spare = lines;
    }
    return null;
}

/// Writes lines, and keeps their memory.
fn write(lines: Text) void {
    writeAll(lines.items);
    spare.deinit(allocator);
    spare = lines;
    if (spare.capacity > most_spare) spare.clearAndFree(allocator) else spare.clearRetainingCapacity();
}

/// A reader that is slow is waited for; one that is gone gets nothing.
fn writeAll(bytes: []const u8) void {
    var left = bytes;
    while (left.len > 0) {
        const written = std.posix.write(std.posix.STDOUT_FILENO, left) catch |problem| switch (problem) {
            error.WouldBlock => {
                var waited = [_]std.posix.pollfd{.{ .fd = std.posix.STDOUT_FILENO, .events = std.posix.POLL.OUT, .revents = 0 }};
                _ = std.posix.poll(&waited, -1) catch return;
                continue;
            },
            else => return,
        };
        left = left[written..];
    }
}

test "lines that nobody reads are lost at some point, and counted" {
    var worker: Worker = .{};
    defer worker.lines.deinit(allocator);
    defer worker.counts.deinit(allocator);
    const line = "x" ** (1024 * 1024);
    for (0..70) |_| try worker.add(line, "key", &.{ .region = "eu" });
    try std.testing.expectEqual(most_waiting, worker.lines.items.len);
    const count = worker.counts.by_labels.get("key").?;
    try std.testing.expectEqual(6, count.lines_lost);
    try std.testing.expectEqual(70, count.calls);
}
