//! How busy the hosts of a pool are, and which of them takes a call: the one that the call's beginning names, unless it
//! has too much to do (rendezvous hashing with bounded loads).
//!
//! Envoy counts a call at its host once a connection to that stands, and its own bounded load would send all calls of a
//! burst to one host. So what was sent to a host and has not begun there is counted here.

const std = @import("std");

/// A call that has not begun after so long never will: a connection takes 2 s at most (clusters.py).
const window = 2 * std.time.ns_per_s;
/// Engines take several calls at once as gladly as one; fewer than these are no load.
pub const least = 4;

/// What is known of one host. All workers share it.
pub const Host = struct {
    /// What its address adds to the choice.
    seed: u64,
    /// Calls that were sent to it and have not begun, of this window and of the one before.
    fresh: u64 = 0,
    older: u64 = 0,
    /// When this window opened, in nanoseconds of a clock that never goes back.
    opened: u64 = 0,
    /// How many calls had begun when it was last looked at.
    begun: ?u64 = null,

    /// Takes note of how many calls have begun by now.
    pub fn settle(self: *Host, now: u64, begun: u64) void {
        const new = begun -| (self.begun orelse begun);
        self.begun = begun;
        const of_older = @min(new, self.older);
        self.older -= of_older;
        self.fresh -|= new - of_older;
        if (now -| self.opened < window) return;
        self.older = if (now -| self.opened < 2 * window) self.fresh else 0;
        self.fresh = 0;
        self.opened = now;
    }

    /// A call goes to it.
    pub fn take(self: *Host) void {
        self.fresh +|= 1;
    }

    pub fn waiting(self: *const Host) u64 {
        return self.fresh +| self.older;
    }
};

/// A host, its calls and how many began there as Envoy counts them, and whether the call at hand has already failed there.
pub const Candidate = struct { host: *Host, calls: u64, begun: u64 = 0, tried: bool = false };

/// The most calls that a host has while others have fewer: a quarter more than the mean, with the call to come.
pub fn bound(calls: u64, hosts: u64) u64 {
    return @max(least, (5 *| (calls +| 1) +| (4 * hosts - 1)) / (4 * hosts));
}

/// Which candidate takes a call with this beginning; null where there is none.
pub fn pick(candidates: []const Candidate, beginning: ?u64) ?usize {
    if (candidates.len == 0) return null;
    var calls: u64 = 0;
    for (candidates) |candidate| calls +|= candidate.calls;
    const most = bound(calls, candidates.len);
    var chosen: ?usize = null;
    var weight: u64 = 0;
    var idlest: ?usize = null;
    for (candidates, 0..) |candidate, index| {
        if (candidate.tried) continue;
        if (idlest == null or candidate.calls < candidates[idlest.?].calls) idlest = index;
        if (candidate.calls >= most) continue;
        const own = weightOf(candidate.host.seed, beginning orelse continue);
        if (chosen == null or own > weight) {
            chosen = index;
            weight = own;
        }
    }
    // All of them tried: once more where it was to go.
    return chosen orelse idlest orelse 0;
}

/// How much a beginning is for a host.
fn weightOf(seed: u64, beginning: u64) u64 {
    return std.hash.Wyhash.hash(seed, std.mem.asBytes(&beginning));
}

/// All hosts by pool and address, held by the balancers that pick from them.
pub const Registry = struct {
    const Held = struct { host: Host, holders: usize = 0, name: []const u8 };

    /// For all that follows, and for the hosts themselves. Under it nothing asks Envoy, and nothing can panic: a panic
    /// leaves by longjmp, and it would stay closed.
    mutex: std.Thread.Mutex = .{},
    by_name: std.StringHashMapUnmanaged(*Held) = .{},
    allocator: std.mem.Allocator,

    /// Which candidate takes a call with this beginning, which is then counted there; null where there is none.
    pub fn take(self: *Registry, candidates: []Candidate, beginning: ?u64, now: u64) ?usize {
        self.mutex.lock();
        defer self.mutex.unlock();
        for (candidates) |*candidate| {
            candidate.host.settle(now, candidate.begun);
            candidate.calls +|= candidate.host.waiting();
        }
        const picked = pick(candidates, beginning) orelse return null;
        candidates[picked].host.take();
        return picked;
    }

    /// The host of that address in a pool, made if nobody holds it.
    pub fn hold(self: *Registry, pool: []const u8, address: []const u8) !*Host {
        const name = try std.mem.concat(self.allocator, u8, &.{ pool, "\x00", address });
        self.mutex.lock();
        defer self.mutex.unlock();
        if (self.by_name.get(name)) |held| {
            self.allocator.free(name);
            held.holders += 1;
            return &held.host;
        }
        errdefer self.allocator.free(name);
        const held = try self.allocator.create(Held);
        errdefer self.allocator.destroy(held);
        held.* = .{ .host = .{ .seed = std.hash.Wyhash.hash(0, address) }, .holders = 1, .name = name };
        try self.by_name.put(self.allocator, name, held);
        return &held.host;
    }

    /// One holder less; without any the host is forgotten.
    pub fn release(self: *Registry, host: *Host) void {
        self.mutex.lock();
        defer self.mutex.unlock();
        const held: *Held = @alignCast(@fieldParentPtr("host", host));
        held.holders -|= 1;
        if (held.holders > 0) return;
        _ = self.by_name.remove(held.name);
        self.allocator.free(held.name);
        self.allocator.destroy(held);
    }
};

/// Of this process.
pub var registry: Registry = .{ .allocator = std.heap.c_allocator };

const testing = std.testing;

fn unused(comptime count: usize) [count]Host {
    var made: [count]Host = undefined;
    for (&made, 0..) |*host, index| host.* = .{ .seed = std.hash.Wyhash.hash(0, std.mem.asBytes(&index)) };
    return made;
}

/// Sends calls, none of which begins, one after another; how many each host gets.
fn burst(comptime count: usize, calls: usize, beginning: ?u64) [count]u64 {
    var all = unused(count);
    var hosts: Registry = .{ .allocator = testing.allocator };
    for (0..calls) |_| {
        var candidates: [count]Candidate = undefined;
        for (&all, &candidates) |*host, *candidate| candidate.* = .{ .host = host, .calls = 0 };
        _ = hosts.take(&candidates, beginning, 1).?;
    }
    var taken: [count]u64 = undefined;
    for (&all, &taken) |*host, *each| each.* = host.waiting();
    return taken;
}

test "of a burst with one beginning no host gets more than a quarter above the mean, and its own gets that" {
    for ([_]usize{ 1, 2, 3, 8, 24, 64, 1000 }) |calls| {
        for (0..20) |beginning| {
            const most = std.mem.max(u64, &burst(4, calls, beginning));
            try testing.expect(most <= bound(calls - 1, 4));
            try testing.expect(most >= @min(calls, least));
        }
    }
    try testing.expectEqual(20, std.mem.max(u64, &burst(4, 64, 7)));
}

test "a count of Envoy's that has gone wrong stops no call" {
    var all = unused(2);
    const most = std.math.maxInt(u64);
    const candidates = [_]Candidate{ .{ .host = &all[0], .calls = most }, .{ .host = &all[1], .calls = most } };
    try testing.expect(pick(&candidates, 1) != null);
    try testing.expect(bound(most, 2) > least);
}

test "calls without a beginning go to the idlest" {
    try testing.expectEqual([_]u64{ 3, 2, 2 }, burst(3, 7, null));
}

test "a beginning keeps its host when others come and go, but for its own" {
    var all = unused(5);
    var candidates: [5]Candidate = undefined;
    for (&all, &candidates) |*host, *candidate| candidate.* = .{ .host = host, .calls = 0 };
    var moved: usize = 0;
    for (0..1000) |beginning| {
        const of_five = pick(&candidates, beginning).?;
        const of_four = pick(candidates[0..4], beginning).?;
        if (of_five != 4) try testing.expectEqual(of_five, of_four) else moved += 1;
    }
    try testing.expect(moved > 120 and moved < 280);
}

test "a host that was tried is left out, unless all were" {
    var all = unused(2);
    var candidates = [_]Candidate{ .{ .host = &all[0], .calls = 0 }, .{ .host = &all[1], .calls = 0 } };
    const first = pick(&candidates, 3).?;
    candidates[first].tried = true;
    try testing.expectEqual(1 - first, pick(&candidates, 3).?);
    candidates[1 - first].tried = true;
    try testing.expect(pick(&candidates, 3) != null);
    try testing.expectEqual(null, pick(&.{}, 3));
}

test "a call is counted until it begins, and no longer than a connection takes" {
    const second = std.time.ns_per_s;
    var host: Host = .{ .seed = 0 };
    host.settle(10 * second, 100); // what began before is nobody's
    for (0..5) |_| host.take();
    host.settle(11 * second, 102);
    try testing.expectEqual(3, host.waiting());
    host.settle(12 * second, 102);
    try testing.expectEqual(3, host.waiting());
    host.take();
    host.settle(13 * second, 103); // the oldest begin first
    try testing.expectEqual(3, host.waiting());
    host.settle(14 * second, 103);
    try testing.expectEqual(1, host.waiting());
    host.settle(20 * second, 103);
    try testing.expectEqual(0, host.waiting());
}

test "a host is one for all that hold it, until nobody does" {
    var all: Registry = .{ .allocator = testing.allocator };
    defer all.by_name.deinit(testing.allocator);
    const one = try all.hold("a", "10.0.0.1:80");
    try testing.expectEqual(one, try all.hold("a", "10.0.0.1:80"));
    const other = try all.hold("b", "10.0.0.1:80");
    try testing.expect(one != other);
    try testing.expectEqual(one.seed, other.seed);
    all.release(one);
    all.release(one);
    all.release(other);
    try testing.expectEqual(0, all.by_name.count());
}
