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
