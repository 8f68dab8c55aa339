//! The line of a call in the access log: JSON with every field, null where it is unknown.

const std = @import("std");
const facts = @import("facts.zig");
const text = @import("text.zig");
const Facts = facts.Facts;
const Text = text.Text;

/// Appends the line, with its newline. It holds no prompt, answer or key.
pub fn append(into: *Text, allocator: std.mem.Allocator, told: *const Facts) !void {
    var flags: [128]u8 = undefined;
    try into.ensureUnusedCapacity(allocator, 2048);
    var writer: Writer = .{ .into = into, .allocator = allocator };
    try writer.raw("{\"time\":\"");
    try writer.raw(&timeText(told.start_unix_ns));
    try writer.raw("\"");
    try writer.string("request_id", told.request_id);
    try writer.string("method", told.method);
    try writer.string("path", told.path);
    try writer.string("tenant", told.tenant);
    try writer.string("model", told.model);
    try writer.string("pin", told.pin);
    try writer.string("cache", told.cache);
    try writer.string("code", told.code);
    try writer.string("region", told.region);
    try writer.string("served", told.served);
    try writer.number("status", told.status);
    try writer.number("prompt_tokens", told.usage.prompt_tokens);
    try writer.number("completion_tokens", told.usage.completion_tokens);
    try writer.number("cached_tokens", told.usage.cached_tokens);
    try writer.number("ttft_ms", told.ttft_ms);
    try writer.number("duration_ms", told.duration_ms);
    try writer.number("first_byte_ms", told.first_byte_ms);
    try writer.number("request_bytes", told.request_bytes);
    try writer.number("response_bytes", told.response_bytes);
    try writer.string("cluster", told.cluster);
    if (told.upstream) |address| {
        var buffer: [80]u8 = undefined;
        const is_v6 = std.mem.indexOfScalar(u8, address.ip, ':') != null;
        var digits: [20]u8 = undefined;
        const pieces = [_][]const u8{ if (is_v6) "[" else "", address.ip, if (is_v6) "]:" else ":", text.decimal(&digits, address.port) };
        var shown: Text = .initBuffer(&buffer);
        for (pieces) |piece| shown.appendSliceBounded(piece) catch {};
        try writer.string("upstream", shown.items);
    } else try writer.string("upstream", null);
    try writer.number("attempts", told.attempts);
    try writer.string("flags", facts.flagsText(told.flags, &flags));
    try writer.string("details", told.details);
    try writer.raw("}\n");
}

const Writer = struct {
    into: *Text,
    allocator: std.mem.Allocator,

    fn raw(self: *Writer, bytes: []const u8) !void {
        try self.into.appendSlice(self.allocator, bytes);
    }

    // The fields' functions are not repeated for each: the code of a line would fill a fifth of a processor's cache for code.
    noinline fn string(self: *Writer, name: []const u8, value: ?[]const u8) !void {
        const shown = value orelse return self.unknown(name);
        if (!text.isPlain(shown)) {
            try self.before(name);
            return self.odd(shown);
        }
        const into = try self.into.addManyAsSlice(self.allocator, name.len + shown.len + 6);
        @memcpy(into[0..2], ",\"");
        @memcpy(into[2..][0..name.len], name);
        @memcpy(into[2 + name.len ..][0..3], "\":\"");
        @memcpy(into[5 + name.len ..][0..shown.len], shown);
        into[into.len - 1] = '"';
    }

    fn unknown(self: *Writer, name: []const u8) !void {
        try self.before(name);
        try self.raw("null");
    }

    fn before(self: *Writer, name: []const u8) !void {
        const into = try self.into.addManyAsSlice(self.allocator, name.len + 4);
        @memcpy(into[0..2], ",\"");
        @memcpy(into[2..][0..name.len], name);
        @memcpy(into[2 + name.len ..], "\":");
    }

    /// A string that is not as plain as all are but what a client made up.
    fn odd(self: *Writer, shown: []const u8) !void {
        if (std.unicode.utf8ValidateSlice(shown)) return text.appendQuoted(self.into, self.allocator, shown);
        try self.raw("\"");
        for (shown) |c| try self.into.append(self.allocator, if (c >= 32 and c < 127 and c != '"' and c != '\\') c else '?');
        try self.raw("\"");
    }

    noinline fn number(self: *Writer, name: []const u8, value: ?u64) !void {
        const shown = value orelse return self.unknown(name);
        try self.before(name);
        var digits: [20]u8 = undefined;
        try self.raw(text.decimal(&digits, shown));
    }
};

/// RFC 3339 with milliseconds, in UTC.
fn timeText(unix_ns: i64) [24]u8 {
    const milliseconds: u64 = @intCast(@divTrunc(@max(0, unix_ns), std.time.ns_per_ms));
    const time: std.time.epoch.EpochSeconds = .{ .secs = milliseconds / 1000 };
    const clock = time.getDaySeconds();
    var made = "0000-00-00T00:00:00.000Z".*;
    made[0..10].* = dateText(time.getEpochDay());
    digitsInto(made[11..13], clock.getHoursIntoDay());
    digitsInto(made[14..16], clock.getMinutesIntoHour());
    digitsInto(made[17..19], clock.getSecondsIntoMinute());
    digitsInto(made[20..23], milliseconds % 1000);
    return made;
}

/// This thread's last day, which is found by going through all years before it.
threadlocal var known_day: std.time.epoch.EpochDay = .{ .day = 0 };
threadlocal var known_date: [10]u8 = "1970-01-01".*;

fn dateText(epoch_day: std.time.epoch.EpochDay) [10]u8 {
    if (epoch_day.day == known_day.day) return known_date;
    const day = epoch_day.calculateYearDay();
    const month = day.calculateMonthDay();
    digitsInto(known_date[0..4], day.year);
    digitsInto(known_date[5..7], month.month.numeric());
    digitsInto(known_date[8..10], @as(u64, month.day_index) + 1);
    known_day = epoch_day;
    return known_date;
}

fn digitsInto(into: []u8, value: u64) void {
    var left = value;
    var at = into.len;
    while (at > 0) {
        at -= 1;
        into[at] = '0' + @as(u8, @intCast(left % 10));
        left /= 10;
    }
}

fn lineOf(allocator: std.mem.Allocator, told: Facts) !std.json.Parsed(std.json.Value) {
    var made: Text = .{};
    defer made.deinit(allocator);
    try append(&made, allocator, &told);
    try std.testing.expectEqual(made.items.len - 1, std.mem.indexOfScalar(u8, made.items, '\n').?);
    return std.json.parseFromSlice(std.json.Value, allocator, made.items, .{ .allocate = .alloc_always });
}

test "a line is one line of JSON whatever it holds, and what is unknown is null" {
    const allocator = std.testing.allocator;
    const told: Facts = .{ .region = "eu", .start_unix_ns = 1_700_000_000_123_999_999, .method = "\"\n\x01", .status = 404 };
    const line = try lineOf(allocator, told);
    defer line.deinit();
    const object = line.value.object;
    try std.testing.expectEqual(25, object.count());
    try std.testing.expectEqualStrings("2023-11-14T22:13:20.123Z", object.get("time").?.string);
    try std.testing.expectEqualStrings("\"\n\x01", object.get("method").?.string);
    try std.testing.expectEqual(404, object.get("status").?.integer);
    try std.testing.expectEqual(.null, object.get("model").?);
    try std.testing.expectEqual(.null, object.get("upstream").?);
    const odd = try lineOf(allocator, .{ .region = "eu", .method = "\xff\"" });
    defer odd.deinit();
    try std.testing.expectEqualStrings("??", odd.value.object.get("method").?.string);
}

test "numbers and addresses are written whole" {
    const allocator = std.testing.allocator;
    const line = try lineOf(allocator, .{
        .region = "eu",
        .usage = .{ .prompt_tokens = 0, .completion_tokens = 18_000_000 },
        .upstream = .{ .ip = "fd00::1", .port = 8080 },
    });
    defer line.deinit();
    try std.testing.expectEqual(0, line.value.object.get("prompt_tokens").?.integer);
    try std.testing.expectEqual(18_000_000, line.value.object.get("completion_tokens").?.integer);
    try std.testing.expectEqualStrings("[fd00::1]:8080", line.value.object.get("upstream").?.string);
}

test "times are right on one day and on another" {
    const day = 86400 * std.time.ns_per_s;
    try std.testing.expectEqualStrings("1970-01-01T00:00:00.000Z", &timeText(0));
    for (0..2) |_| {
        try std.testing.expectEqualStrings("2024-02-29T00:00:01.002Z", &timeText(19782 * day + 1_002_000_000));
        try std.testing.expectEqualStrings("2024-03-01T23:59:59.999Z", &timeText(19784 * day - 1));
    }
}
