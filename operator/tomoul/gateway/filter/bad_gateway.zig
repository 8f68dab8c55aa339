//! What a client gets in the place of an answer that is none.

const std = @import("std");
const errors = @import("errors.zig");
const text = @import("text.zig");
const Call = @import("call.zig").Call;

/// What an engine answered is none of a completion: the client gets an error. Its body.
pub fn ofNoCompletion(call: *Call) ![]const u8 {
    const allocator = call.allocator();
    const message = try std.fmt.allocPrint(allocator, "\"The engine answered {d}, and with no completion\"", .{call.status});
    return failed(call, 502, message, "engine_failed");
}

fn failed(call: *Call, status: u16, message: []const u8, code: []const u8) ![]const u8 {
    const stream, const allocator = .{ call.stream, call.allocator() };
    call.status = status;
    call.code = code;
    var digits: [20]u8 = undefined;
    stream.setHeader(.response, ":status", text.decimal(&digits, status));
    stream.setHeader(.response, "content-type", "application/json");
    for ([_][]const u8{ "retry-after", "x-tomoul-seed" }) |name| stream.removeHeader(.response, name);
    return errors.body(allocator, status, message, "null", try text.quoted(allocator, code), "");
}

/// The gateway holds as much of other answers as it may.
pub fn ofNoRoom(call: *Call) ![]const u8 {
    const made = try failed(call, 503, "\"The gateway has no room for the answer now; a stream (`stream: true`) needs none\"", "region_capacity_unavailable");
    call.stream.setHeader(.response, "retry-after", errors.retry_after_seconds);
    return made;
}

/// What an engine answered is more than a body may be.
pub fn ofTooLarge(call: *Call) ![]const u8 {
    const allocator = call.allocator();
    const message = try std.fmt.allocPrint(allocator, "\"The answer is larger than {d} bytes; ask for less of it, or for a stream (`stream: true`)\"", .{call.document.source.max_body_bytes});
    call.stream.setHeader(.response, "x-should-retry", "false"); // it would cost as much, and be as large
    return failed(call, 502, message, "answer_too_large");
}

/// What stands before another region's gateway, such as a load balancer, has answered in its place.
pub fn ofStranger(call: *Call) !void {
    const stream, const allocator = .{ call.stream, call.allocator() };
    const found = try stream.headers(.response, allocator);
    const names = try allocator.alloc([]const u8, found.len);
    for (found, names) |header, *name| name.* = try allocator.dupe(u8, header.key.slice());
    for (names) |name| {
        if (name[0] != ':') stream.removeHeader(.response, name);
    }
    stream.setHeader(.response, ":status", "503");
    stream.setHeader(.response, "content-type", "application/json");
    stream.setHeader(.response, "retry-after", errors.retry_after_seconds);
    stream.setHeader(.response, "x-tomoul-region", call.document.source.region);
    call.code = "region_capacity_unavailable";
    call.answer = .replaced;
    call.replacement = try errors.body(
        allocator,
        503,
        try std.fmt.allocPrint(allocator, "\"What answers at the other region's endpoint is not its gateway; it answered {d}\"", .{call.status}),
        "null",
        "\"region_capacity_unavailable\"",
        "",
    );
}
