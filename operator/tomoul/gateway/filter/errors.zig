//! Errors in OpenAI's shape.

const std = @import("std");
const abi = @import("abi.zig");
const admission = @import("admission.zig");
const json = @import("json.zig");
const text = @import("text.zig");
const Call = @import("call.zig").Call;

pub const retry_after_seconds = "30";

pub const Refused = error{ Refused, OutOfMemory };

pub const Options = struct {
    param: ?[]const u8 = null,
    allow: ?[]const u8 = null,
    /// Whether waiting helps.
    retry_after: bool = false,
    /// Seconds to wait, where they are known.
    wait: ?u8 = null,
    /// OpenAI's word for the kind of error, where it is not that of the status.
    kind: ?[]const u8 = null,
    /// Whether a key is missing or wrong.
    authenticate: bool = false,
    /// Members of the error after `code`, each with a comma before it.
    more: []const u8 = "",
    /// How to answer a call that says it is gRPC's.
    to_grpc: ?enum { whole, head_only } = null,
};

pub fn kindOf(status: u16) []const u8 {
    return if (status < 500) "invalid_request_error" else "server_error";
}

/// The body of an error; `param` and `code` are JSON.
pub fn body(
    allocator: std.mem.Allocator,
    status: u16,
    message_json: []const u8,
    param_json: []const u8,
    code_json: []const u8,
    more: []const u8,
) ![]const u8 {
    return ofKind(allocator, kindOf(status), message_json, param_json, code_json, more);
}

fn ofKind(
    allocator: std.mem.Allocator,
    kind: []const u8,
    message_json: []const u8,
    param_json: []const u8,
    code_json: []const u8,
    more: []const u8,
) ![]const u8 {
    return std.fmt.allocPrint(
        allocator,
        "{{\"error\":{{\"message\":{s},\"type\":\"{s}\",\"param\":{s},\"code\":{s}{s}}}}}",
        .{ message_json, kind, param_json, code_json, more },
    );
}

/// Answers the call; nothing after it runs.
pub fn refuse(call: *Call, status: u16, code: []const u8, options: Options, comptime format: []const u8, arguments: anytype) Refused {
    const allocator = call.allocator();
    const message = try std.fmt.allocPrint(allocator, format, arguments);
    const made = try ofKind(
        allocator,
        options.kind orelse kindOf(status),
        try text.quoted(allocator, message),
        if (options.param) |param| try text.quoted(allocator, param) else "null",
        try text.quoted(allocator, code),
        options.more,
    );
    var headers: [5 + common_headers]abi.Pair = undefined;
    var digits: [3]u8 = undefined;
    const waits = options.retry_after or options.wait != null;
    var count = (try commonHeaders(call, status, waits, headers[0..common_headers])).len;
    if (options.allow) |allow| {
        headers[count] = .of("allow", allow);
        count += 1;
    }
    if (options.authenticate) {
        headers[count] = .of("www-authenticate", "Bearer");
        count += 1;
    }
    if (waits) {
        const seconds = if (options.wait) |wait| std.fmt.bufPrint(&digits, "{d}", .{wait}) catch unreachable else retry_after_seconds;
        headers[count] = .of("retry-after", seconds);
        count += 1;
    }
    call.code = code;
    call.local = true;
    call.reads_body = false;
    if (options.to_grpc) |how| {
        var numbers: [2][20]u8 = undefined;
        headers[count] = headers[0];
        headers[count + 1] = .of("content-length", text.decimal(&numbers[0], made.len));
        headers[0] = .of(":status", text.decimal(&numbers[1], status));
        call.stream.respondPlainly(headers[0 .. count + 2], if (how == .whole) made else "");
    } else call.stream.respond(status, headers[0..count], made, "tomoul");
    return error.Refused;
}

pub const common_headers = 3 + admission.allowance_headers;

/// Headers of all errors that this gateway makes, into `made`, the content type first; `waits`: one more says when to try again.
pub fn commonHeaders(call: *Call, status: u16, waits: bool, made: *[common_headers]abi.Pair) ![]abi.Pair {
    made[0] = .of("content-type", "application/json");
    made[1] = .of("x-tomoul-region", call.document.source.region);
    var count: usize = 2;
    if (!waits and !worthAnotherTry(status)) {
        made[count] = .of("x-should-retry", "false");
        count += 1;
    }
    var left: [admission.allowance_headers]abi.Pair = undefined;
    for (try admission.allowanceHeaders(call, &left)) |header| {
        made[count] = header;
        count += 1;
    }
    return made[0..count];
}

/// Whether the same call could fare better later, as OpenAI's SDKs see it.
pub fn worthAnotherTry(status: u16) bool {
    return status == 408 or status == 409 or status == 429 or (status >= 500 and status != 501 and status != 504);
}

/// The seconds after which to try again, where an engine's answer told `told`: at most a minute, and none where waiting
/// does not help.
pub fn waitOf(status: u16, told: ?[]const u8) ?u8 {
    if (!worthAnotherTry(status)) return null;
    const digits = told orelse "";
    const is_number = digits.len > 0 and for (digits) |digit| {
        if (!std.ascii.isDigit(digit)) break false;
    } else true;
    if (is_number) return @min(60, std.fmt.parseInt(u8, digits, 10) catch 60);
    return if (status == 503) 30 else null;
}

pub fn forCapacity(call: *Call, comptime format: []const u8, arguments: anytype) Refused {
    return refuse(call, 503, "region_capacity_unavailable", .{ .retry_after = true }, format, arguments);
}

/// A `Problem` of the reader's, in a message after "… is not valid: ".
pub fn problem(allocator: std.mem.Allocator, found: json.Problem) ![]const u8 {
    const subject = found.subject orelse return found.before;
    return std.fmt.allocPrint(allocator, "{s}`{s}`{s}", .{ found.before, text.shown(subject).slice(), found.after });
}
