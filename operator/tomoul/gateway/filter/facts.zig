//! What is told of a call that is over: docs/usage.md says what each means.

const std = @import("std");
const abi_log = @import("abi_log.zig");
const Call = @import("call.zig").Call;
const Usage = @import("usage.zig").Usage;

pub const Facts = struct {
    start_unix_ns: i64 = 0,
    request_id: ?[]const u8 = null,
    method: ?[]const u8 = null,
    path: ?[]const u8 = null,
    tenant: ?[]const u8 = null,
    model: ?[]const u8 = null,
    pin: ?[]const u8 = null,
    cache: ?[]const u8 = null,
    code: ?[]const u8 = null,
    /// What is counted in its place.
    code_label: ?[]const u8 = null,
    region: []const u8,
    served: ?[]const u8 = null,
    status: u32 = 0,
    usage: Usage = .{},
    ttft_ms: ?u64 = null,
    duration_ms: ?u64 = null,
    first_byte_ms: ?u64 = null,
    request_bytes: u64 = 0,
    response_bytes: u64 = 0,
    cluster: ?[]const u8 = null,
    upstream: ?abi_log.Entry.Address = null,
    attempts: u32 = 0,
    /// A bit for each of `flag_names`.
    flags: u64 = 0,
    details: ?[]const u8 = null,
    trial: ?[]const u8 = null,
    answered_by: ?[]const u8 = null,
    /// Whether an engine of this region has answered.
    answered: bool = false,

    /// Of a call that the filter saw, or of what never became one: a request that is not HTTP, say. `own` is this
    /// gateway's region.
    pub fn of(entry: *abi_log.Entry, call: ?*Call, own: []const u8) Facts {
        const timing, const sizes = .{ entry.timing(), entry.sizes() };
        var made: Facts = .{
            .start_unix_ns = timing.start_unix,
            .request_id = entry.requestId() orelse entry.header(.response, "x-request-id"),
            .region = own,
            .status = entry.status(),
            .duration_ms = milliseconds(timing.complete),
            .first_byte_ms = milliseconds(timing.first_upstream_received),
            .request_bytes = sizes.received,
            .response_bytes = sizes.sent,
            .cluster = entry.cluster(),
            .upstream = entry.upstream(),
            .attempts = entry.attempts(),
            .flags = entry.flags(),
            .details = entry.details(),
        };
        // What of an engine's answer this gateway has let go under its own headers need not be looked up in them again.
        const passed = if (call) |seen| seen.served and !seen.local else false;
        const region = if (passed) own else entry.header(.response, "x-tomoul-region");
        const code = if (passed) null else entry.header(.response, "x-tomoul-code");
        made.region = region orelse own;
        made.method = if (passed) call.?.path.method() else entry.header(.request, ":method");
        const seen = call orelse {
            made.code = code;
            return made;
        };
        made.path = seen.path.text(); // any other could carry what does not belong into a log
        made.tenant = if (seen.tenant) |tenant| tenant.entry.name else null;
        made.model = if (seen.model) |model| model.id else null;
        made.pin = seen.pin;
        made.cache = seen.cache;
        // Envoy's own answer is what left, though the filter may have begun another.
        made.code = code orelse seen.code orelse
            if (seen.served and !isDone(seen)) brokenCode(made.flags) else null;
        made.code_label = if (code == null) seen.code_label else null;
        made.usage = seen.usage;
        made.ttft_ms = seen.ttft_ms;
        made.answered = seen.served;
        if (made.upstream != null) {
            made.served = if (passed) "pool" else seen.stream.hostMetadata("tomoul", "kind");
            // One that did not wait was to be answered there.
            if (region == null)
                made.region = seen.stream.hostMetadata("tomoul", "region") orelse own;
        }
        if (seen.trial) |trial| {
            made.trial = @tagName(trial);
            made.answered_by = seen.stream.hostMetadata("tomoul", "pool");
        }
        return made;
    }
};

fn milliseconds(nanoseconds: i64) ?u64 {
    return if (nanoseconds < 0) null else @intCast(@divTrunc(nanoseconds, std.time.ns_per_ms));
}

/// Envoy's response flags in the order of its bits, as its documentation names them.
pub const flag_names = [_][]const u8{
    "LH",   "UH",  "UT", "LR",  "UR", "UF", "UC",    "UO",   "NR",   "DI", "FI",  "RL", "UAEX", "RLSE", "DC",
    "URX",  "SI",  "IH", "DPE", "UMSDR",    "RFCF",  "NFCF", "DT",   "UPE", "NC", "OM", "DF",   "DO",   "DR",
    "UDO",
};

/// Whether a stream had come to its end, whatever became of its connection.
fn isDone(call: *const Call) bool {
    return call.answer == .stream and call.rewriter.done;
}

/// The code of an answer that an engine of this region began and did not end.
fn brokenCode(flags: u64) ?[]const u8 {
    if (flags & mask(&.{"DC"}) != 0) return null; // the client did not wait
    if (flags & mask(&.{ "UT", "DT", "SI", "UMSDR" }) != 0) return "timeout";
    return if (flags & mask(&.{ "UC", "UR", "LR", "UPE" }) != 0) "engine_failed" else null;
}

/// The bits of these flags.
fn mask(comptime names: []const []const u8) u64 {
    comptime var made: u64 = 0;
    inline for (names) |wanted| {
        inline for (flag_names, 0..) |name, bit| {
            if (comptime std.mem.eql(u8, name, wanted)) made |= 1 << bit;
        }
    }
    comptime std.debug.assert(@popCount(made) == names.len);
    return made;
}

/// The names of what is set, between commas; `-` if nothing is.
pub fn flagsText(flags: u64, buffer: *[128]u8) []const u8 {
    if (flags == 0) return "-";
    var length: usize = 0;
    for (flag_names, 0..) |name, bit| {
        if (flags >> @intCast(bit) & 1 == 0) continue;
        if (length + name.len + 1 > buffer.len) break;
        if (length > 0) {
            buffer[length] = ',';
            length += 1;
        }
        @memcpy(buffer[length..][0..name.len], name);
        length += name.len;
    }
    return buffer[0..length];
}

test "what an engine did not end has a code, unless its client went away" {
    try std.testing.expectEqualStrings("engine_failed", brokenCode(1 << 6).?);
    try std.testing.expectEqualStrings("timeout", brokenCode(1 << 16).?);
    try std.testing.expectEqual(null, brokenCode(1 << 14 | 1 << 6));
    try std.testing.expectEqual(null, brokenCode(0));
}

test "flags are named as Envoy names them" {
    var buffer: [128]u8 = undefined;
    try std.testing.expectEqualStrings("-", flagsText(0, &buffer));
    try std.testing.expectEqualStrings("DC", flagsText(1 << 14, &buffer));
    try std.testing.expectEqualStrings("UF,URX", flagsText(1 << 5 | 1 << 15, &buffer));
    try std.testing.expect(flagsText(std.math.maxInt(u64), &buffer).len <= buffer.len);
}
