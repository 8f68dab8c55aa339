//! What limits let in.

const std = @import("std");
const all_limits = @import("limits.zig");
const Allowance = all_limits.Allowance;
const Kind = all_limits.Kind;
const Limits = all_limits.Limits;
const Registry = all_limits.Registry;
const Usage = all_limits.Usage;

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
