//! Whose a call is, and whether its tenant may make one more.

const abi = @import("abi.zig");
const calls = @import("call.zig");
const errors = @import("errors.zig");
const tenants = @import("tenants.zig");
const text = @import("text.zig");
const Asked = @import("asked.zig").Asked;
const Call = calls.Call;
const Refused = errors.Refused;
const refuse = errors.refuse;
const Tenant = tenants.Tenant;

/// Whose call it is. Without authentication everybody is one tenant, the document's first.
pub fn authenticated(call: *Call, asked: *const Asked) Refused!*const Tenant {
    const document = call.document;
    if (document.source.auth == .None) return &document.tenants[0];
    const options: errors.Options = .{ .authenticate = true };
    const count = asked.authorization.count;
    if (count == 0)
        return refuse(call, 401, "invalid_api_key", options, "An API key is needed, as `Authorization: Bearer KEY`", .{});
    const key = tenants.bearer(asked.authorization.first);
    if (count > 1 or key == null)
        return refuse(call, 401, "invalid_api_key", options, "The API key must be sent once, as `Authorization: Bearer KEY`", .{});
    return document.keys.owner(key.?) orelse
        refuse(call, 401, "invalid_api_key", options, "The API key is not valid", .{});
}

/// Counts the call among its tenant's, unless that has used what it may.
pub fn admit(call: *Call, tenant: *const Tenant) Refused!void {
    if (!tenant.limits.counts()) return;
    const now = calls.monotonic();
    const refused = tenant.usage.begin(now, tenant.limits);
    call.allowance = tenant.usage.allowance(now, tenant.limits);
    const refusal = refused orelse {
        call.is_running = true;
        return;
    };
    const seconds: u8 = @intFromFloat(@ceil(@min(60, @max(1, refusal.seconds orelse 1))));
    const most = tenant.entry.limits;
    const limit, const kind, const what = switch (refusal.kind) {
        .requests => .{ most.requests_per_minute.?, "requests", "requests per minute" },
        .tokens => .{ most.tokens_per_minute.?, "tokens", "tokens per minute" },
        .concurrency => .{ most.concurrent_requests.?, "requests", "requests at the same time" },
    };
    return refuse(call, 429, "rate_limit_exceeded", .{ .kind = kind, .wait = seconds }, "The limit of {d} {s} is reached", .{ limit, what });
}

pub const allowance_headers = 3;

/// OpenAI's headers for what is left of the tenant's requests, into `made`; none where they are not limited.
pub fn allowanceHeaders(call: *Call, made: *[allowance_headers]abi.Pair) ![]const abi.Pair {
    const left = call.allowance orelse return &.{};
    const most: u64 = @intFromFloat(call.tenant.?.entry.limits.requests_per_minute.?);
    const minutes, const seconds = .{ left.reset_seconds / 60, left.reset_seconds % 60 };
    var written: text.Text = .{};
    try written.ensureTotalCapacityPrecise(call.allocator(), 4 * 20 + 2);
    made[0] = .of("x-ratelimit-limit-requests", write(&written, &.{most}, ""));
    made[1] = .of("x-ratelimit-remaining-requests", write(&written, &.{left.remaining}, ""));
    made[2] = .of("x-ratelimit-reset-requests", if (minutes > 0) write(&written, &.{ minutes, seconds }, "ms") else write(&written, &.{seconds}, "s"));
    return made;
}

/// Leaves them to an answer of Envoy's own. One in the place of an answer that an engine has begun passes no filter; it gets
/// them by local_reply.py.
pub fn leaveAllowance(call: *Call) !void {
    var made: [allowance_headers]abi.Pair = undefined;
    for (try allowanceHeaders(call, &made)) |header| call.stream.setMetadata("tomoul", header.key.slice(), header.value.slice());
}

/// Writes numbers, each with its unit behind it where there are units; `into` has room for them.
fn write(into: *text.Text, numbers: []const u64, units: []const u8) []const u8 {
    const start = into.items.len;
    var digits: [20]u8 = undefined;
    for (numbers, 0..) |number, at| {
        into.appendSliceAssumeCapacity(text.decimal(&digits, number));
        if (at < units.len) into.appendAssumeCapacity(units[at]);
    }
    return into.items[start..];
}
