//! Limits: how much a tenant may still ask of this gateway.
//!
//! What was used is remembered, not what is left, so that a limit may change at any time: use fades at the limit's rate,
//! and a call is let in while what is left of it, with the call, fits into one minute's worth. Tokens are charged once
//! they are known, when a call is over, so that their use may pass the limit; no call is let in until it has faded.
//!
//! Envoy's workers are threads, hence the locks. Nothing that is done under one can panic: a panic leaves by longjmp,
//! and the lock would stay closed.

const std = @import("std");

const seconds_per_minute = 60.0;
const ns_per_s: f64 = std.time.ns_per_s;

/// A tenant's limits as its resource has them, of all gateways of the region together. Null: not limited.
pub const Limits = struct {
    requests_per_minute: ?f64 = null,
    tokens_per_minute: ?f64 = null,
    concurrent_requests: ?f64 = null,
    max_output_tokens: ?u64 = null,

    /// Whether anything has to be counted.
    pub fn counts(self: Limits) bool {
        return self.requests_per_minute != null or self.tokens_per_minute != null or self.concurrent_requests != null;
    }

    /// One gateway's part of them where `gateways` share the calls; at least one call in all.
    pub fn share(self: Limits, gateways: f64) Limits {
        return .{
            .requests_per_minute = divided(self.requests_per_minute, gateways),
            .tokens_per_minute = divided(self.tokens_per_minute, gateways),
            .concurrent_requests = if (divided(self.concurrent_requests, gateways)) |part| @max(1, @floor(part)) else null,
            .max_output_tokens = self.max_output_tokens,
        };
    }
};

fn divided(limit: ?f64, parts: f64) ?f64 {
    return if (limit) |all| all / @max(1, parts) else null;
}

pub const Kind = enum { requests, tokens, concurrency };

/// What stands against a call, and the seconds after which it does not; nothing can be said of those of other calls.
pub const Refusal = struct { kind: Kind, seconds: ?f64 };

/// How many more calls would be let in now, and the seconds until as many would be as if none had come.
pub const Allowance = struct { remaining: u64, reset_seconds: u64 };

const most_told = 1e15;

/// Use that fades at a limit's rate.
const Use = struct {
    amount: f64 = 0,
    /// When it was brought up to date, in nanoseconds.
    at: u64 = 0,

    fn fade(self: *Use, now: u64, per_minute: f64) void {
        const passed: f64 = @floatFromInt(now -| self.at);
        self.amount = @max(0, self.amount - passed / ns_per_s * per_minute / seconds_per_minute);
        self.at = @max(now, self.at);
    }

    /// Seconds until `more` fits, 0 if it does now.
    fn wait(self: *const Use, more: f64, per_minute: f64) f64 {
        const room = @max(per_minute, 1);
        return @max(0, (self.amount + more - room) / per_minute * seconds_per_minute);
    }
};

/// What one tenant has used. It outlives the documents that name the tenant.
pub const Usage = struct {
    mutex: std.Thread.Mutex = .{},
    requests: Use = .{},
    tokens: Use = .{},
    running: u32 = 0,

    /// Lets a call in and counts it, or says what stands against it and counts nothing. `now` is in nanoseconds of a
    /// clock that never goes back. Whatever was let in is taken back by one `end`.
    pub fn begin(self: *Usage, now: u64, limits: Limits) ?Refusal {
        self.mutex.lock();
        defer self.mutex.unlock();
        if (limits.concurrent_requests) |most| {
            if (@as(f64, @floatFromInt(self.running)) >= most) return .{ .kind = .concurrency, .seconds = null };
        }
        if (limits.requests_per_minute) |rate| {
            self.requests.fade(now, rate);
            const wait = self.requests.wait(1, rate);
            if (wait > 0) return .{ .kind = .requests, .seconds = wait };
        }
        if (limits.tokens_per_minute) |rate| {
            self.tokens.fade(now, rate);
            const wait = self.tokens.wait(1, rate);
            if (wait > 0) return .{ .kind = .tokens, .seconds = wait };
        }
        if (limits.requests_per_minute != null) self.requests.amount += 1;
        self.running +|= 1;
        return null;
    }

    /// What is left of the requests; null where they are not limited.
    pub fn allowance(self: *Usage, now: u64, limits: Limits) ?Allowance {
        const rate = limits.requests_per_minute orelse return null;
        const amount = amount: {
            self.mutex.lock();
            defer self.mutex.unlock();
            self.requests.fade(now, rate);
            break :amount self.requests.amount;
        };
        const left = @max(0, @max(rate, 1) - amount);
        return .{
            .remaining = @intFromFloat(@min(left, most_told)),
            .reset_seconds = @intFromFloat(@ceil(@min(amount / rate * seconds_per_minute, most_told))),
        };
    }

    /// A call that `begin` let in is over, however it ended. One that another region's gateway took is counted there.
    pub fn end(self: *Usage, now: u64, limits: Limits, tokens: u64, counted_elsewhere: bool) void {
        self.mutex.lock();
        defer self.mutex.unlock();
        self.running -|= 1;
        if (counted_elsewhere) {
            if (limits.requests_per_minute) |rate| {
                self.requests.fade(now, rate);
                self.requests.amount = @max(0, self.requests.amount - 1);
            }
        } else if (limits.tokens_per_minute) |rate| {
            self.tokens.fade(now, rate);
            self.tokens.amount += @floatFromInt(tokens);
        }
    }
};

/// All tenants' usage by their names, held by the documents that name them.
pub const Registry = struct {
    const Held = struct { usage: Usage = .{}, holders: usize = 0, name: []const u8 };

    mutex: std.Thread.Mutex = .{},
    by_name: std.StringHashMapUnmanaged(*Held) = .{},
    allocator: std.mem.Allocator,

    /// The usage of a tenant, made if nobody holds it.
    pub fn hold(self: *Registry, name: []const u8) !*Usage {
        self.mutex.lock();
        defer self.mutex.unlock();
        if (self.by_name.get(name)) |held| {
            held.holders += 1;
            return &held.usage;
        }
        const held = try self.allocator.create(Held);
        errdefer self.allocator.destroy(held);
        held.* = .{ .name = try self.allocator.dupe(u8, name), .holders = 1 };
        errdefer self.allocator.free(held.name);
        try self.by_name.put(self.allocator, held.name, held);
        return &held.usage;
    }

    /// One holder less; without any the usage is forgotten.
    pub fn release(self: *Registry, usage: *Usage) void {
        self.mutex.lock();
        defer self.mutex.unlock();
        const held: *Held = @fieldParentPtr("usage", usage);
        held.holders -= 1;
        if (held.holders > 0) return;
        _ = self.by_name.remove(held.name);
        self.allocator.free(held.name);
        self.allocator.destroy(held);
    }
};

/// Of this process.
pub var registry: Registry = .{ .allocator = std.heap.c_allocator };

const second: u64 = std.time.ns_per_s;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

test "a minute's requests are let in at once, and then one at a time as the minute passes" {
    var usage: Usage = .{};
    const limits: Limits = .{ .requests_per_minute = 6 };
    const start = 1000 * second;
    for (0..6) |_| try expectEqual(null, usage.begin(start, limits));
    const refusal = usage.begin(start, limits).?;
    try expectEqual(Kind.requests, refusal.kind);
    try std.testing.expectApproxEqAbs(10, refusal.seconds.?, 1e-9);
    try expect(usage.begin(start + 9 * second, limits) != null);
    try expectEqual(null, usage.begin(start + 10 * second, limits));
    try expect(usage.begin(start + 10 * second, limits) != null);
}

test "over any time no more requests are let in than the limit and one minute's worth" {
    var usage: Usage = .{};
    const limits: Limits = .{ .requests_per_minute = 60 };
    var let_in: usize = 0;
    for (0..600 * 20) |step| { // ten minutes, twenty tries a second
        if (usage.begin(step * second / 20, limits) == null) let_in += 1;
    }
    try expect(let_in <= 11 * 60);
    try expect(let_in >= 11 * 60 - 2);
}

test "what is left of the requests is told, also when the limit has become smaller" {
    var usage: Usage = .{};
    try expectEqual(null, usage.allowance(0, .{ .tokens_per_minute = 1 }));
    const limits: Limits = .{ .requests_per_minute = 6 };
    try expectEqual(Allowance{ .remaining = 6, .reset_seconds = 0 }, usage.allowance(0, limits).?);
    for (0..4) |_| try expectEqual(null, usage.begin(0, limits));
    try expectEqual(Allowance{ .remaining = 2, .reset_seconds = 40 }, usage.allowance(0, limits).?);
    try expectEqual(Allowance{ .remaining = 2, .reset_seconds = 31 }, usage.allowance(9 * second + 1, limits).?);
    try expectEqual(Allowance{ .remaining = 3, .reset_seconds = 30 }, usage.allowance(10 * second, limits).?);
    try expectEqual(Allowance{ .remaining = 0, .reset_seconds = 90 }, usage.allowance(10 * second, .{ .requests_per_minute = 2 }).?);
    try expect(usage.allowance(0, .{ .requests_per_minute = 1e-300 }).?.reset_seconds > 0);
}

test "tokens are charged once they are known, and calls wait until what is too much has faded" {
    var usage: Usage = .{};
    const limits: Limits = .{ .tokens_per_minute = 600 };
    try expectEqual(null, usage.begin(0, limits));
    try expectEqual(null, usage.begin(0, limits)); // nothing is known of the first yet
    usage.end(0, limits, 500, false);
    usage.end(0, limits, 700, false);
    const refusal = usage.begin(0, limits).?;
    try expectEqual(Kind.tokens, refusal.kind);
    try std.testing.expectApproxEqAbs(60.1, refusal.seconds.?, 1e-6);
    try expect(usage.begin(60 * second, limits) != null);
    try expectEqual(null, usage.begin(61 * second, limits));
}

test "running calls are limited and make room when they end, however they end" {
    var usage: Usage = .{};
    const limits: Limits = .{ .concurrent_requests = 2 };
    try expectEqual(null, usage.begin(0, limits));
    try expectEqual(null, usage.begin(0, limits));
    try expectEqual(Kind.concurrency, usage.begin(0, limits).?.kind);
    usage.end(0, limits, 0, false);
    try expectEqual(null, usage.begin(0, limits));
    usage.end(0, limits, 0, true);
    try expectEqual(null, usage.begin(0, limits));
}

test "a refused call counts nothing" {
    var usage: Usage = .{};
    const limits: Limits = .{ .requests_per_minute = 2, .concurrent_requests = 1 };
    try expectEqual(null, usage.begin(0, limits));
    for (0..100) |_| try expectEqual(Kind.concurrency, usage.begin(0, limits).?.kind);
    usage.end(0, limits, 0, false);
    try expectEqual(null, usage.begin(0, limits));
}

test "a call that another region's gateway took is not counted here" {
    var usage: Usage = .{};
    const limits: Limits = .{ .requests_per_minute = 1, .tokens_per_minute = 10 };
    for (0..5) |_| {
        try expectEqual(null, usage.begin(0, limits));
        usage.end(0, limits, 1000, true);
    }
    try expectEqual(null, usage.begin(0, limits));
    usage.end(0, limits, 1000, false);
    try expect(usage.begin(0, limits) != null);
}

test "a limit that changes takes effect at once, and what was used stays used" {
    var usage: Usage = .{};
    for (0..60) |_| try expectEqual(null, usage.begin(0, .{ .requests_per_minute = 60 }));
    try expect(usage.begin(0, .{ .requests_per_minute = 60 }) != null);
    try expectEqual(null, usage.begin(0, .{ .requests_per_minute = 61 }));
    try expect(usage.begin(0, .{ .requests_per_minute = 10 }) != null);
    try expectEqual(null, usage.begin(0, .{}));
}

test "a clock that another thread has read earlier takes nothing back" {
    var usage: Usage = .{};
    const limits: Limits = .{ .requests_per_minute = 1 };
    try expectEqual(null, usage.begin(60 * second, limits));
    try expect(usage.begin(59 * second, limits) != null);
    try expectEqual(null, usage.begin(120 * second, limits));
}

test "gateways share a limit, and each lets at least one call in" {
    const share = (Limits{ .requests_per_minute = 90, .tokens_per_minute = 1, .concurrent_requests = 7 }).share(3);
    try expectEqual(30, share.requests_per_minute.?);
    try expectEqual(2, share.concurrent_requests.?);
    var usage: Usage = .{};
    try expectEqual(null, usage.begin(0, share));
    const tiny = (Limits{ .requests_per_minute = 1, .concurrent_requests = 1 }).share(3);
    try expectEqual(1, tiny.concurrent_requests.?);
    var other: Usage = .{};
    try expectEqual(null, other.begin(0, tiny));
    other.end(0, tiny, 0, false);
    try std.testing.expectApproxEqAbs(180, other.begin(0, tiny).?.seconds.?, 1e-9);
}

fn hammer(usage: *Usage, limits: Limits, let_in: *std.atomic.Value(usize)) void {
    for (0..2000) |_| {
        if (usage.begin(0, limits) == null) {
            _ = let_in.fetchAdd(1, .monotonic);
            usage.end(0, limits, 1, false);
        }
    }
}

test "threads that call at once are let in as often as one would be" {
    var usage: Usage = .{};
    var let_in: std.atomic.Value(usize) = .init(0);
    const limits: Limits = .{ .requests_per_minute = 1000, .tokens_per_minute = 5000, .concurrent_requests = 64 };
    var threads: [4]std.Thread = undefined;
    for (&threads) |*thread| thread.* = try std.Thread.spawn(.{}, hammer, .{ &usage, limits, &let_in });
    for (threads) |thread| thread.join();
    try expectEqual(1000, let_in.load(.monotonic));
    try expectEqual(0, usage.running);
    try expectEqual(1000, usage.tokens.amount);
}

test "usage outlives the documents that name a tenant, until none does" {
    var all: Registry = .{ .allocator = std.testing.allocator };
    defer all.by_name.deinit(std.testing.allocator);
    const first = try all.hold("a/b");
    try expectEqual(null, first.begin(0, .{ .requests_per_minute = 1 }));
    const again = try all.hold("a/b");
    try expectEqual(first, again);
    all.release(first);
    try expect((try all.hold("a/b")).begin(0, .{ .requests_per_minute = 1 }) != null);
    all.release(again);
    all.release(again);
    const fresh = try all.hold("a/b");
    try expectEqual(null, fresh.begin(0, .{ .requests_per_minute = 1 }));
    all.release(fresh);
    try expectEqual(0, all.by_name.count());
}
