//! The headers of an answer: what a client sees of them, and what becomes of the body behind them.

const std = @import("std");
const abi = @import("abi.zig");
const admission = @import("admission.zig");
const bad_gateway = @import("bad_gateway.zig");
const bodies = @import("body.zig");
const completion = @import("completion.zig");
const errors = @import("errors.zig");
const names = @import("names.zig");
const oversize = @import("oversize.zig");
const response_body = @import("response_body.zig");
const streams = @import("stream.zig");
const Call = @import("call.zig").Call;
const Head = @import("head.zig").Head;

/// The headers are there. True if they may leave, false if they wait for the whole body, or a stream's first event.
pub fn headers(call: *Call, end_of_stream: bool) !bool {
    if (call.local or call.dress == .client) {
        try ofGateway(call);
        return true;
    }
    const head: Head = try .read(call.stream, call.allocator());
    call.status = head.status;
    if (call.dress == .gateway) try ofRegion(call, &head) else try ofEngine(call, &head, end_of_stream);
    switch (call.answer) {
        .passes => return true,
        .stream => return call.rewriter.committed,
        .failure, .completion, .replaced => {},
    }
    if (!end_of_stream) return false;
    const made = (try response_body.wholeBody(call, "")) orelse return true;
    call.stream.append(.buffered_response, made);
    bodies.setLength(call.stream, .response, made.len);
    return true;
}

/// Those of an answer of this gateway's own, be it the filter's or Envoy's.
fn ofGateway(call: *Call) !void {
    const stream = call.stream;
    stream.setHeader(.response, "x-tomoul-region", call.document.source.region);
    var left: [admission.allowance_headers]abi.Pair = undefined;
    for (try admission.allowanceHeaders(call, &left)) |header| stream.setHeader(.response, header.key.slice(), header.value.slice());
    const code = stream.header(.response, "x-tomoul-code") orelse return;
    call.code = try call.allocator().dupe(u8, code);
    stream.removeHeader(.response, "x-tomoul-code");
}

/// Those of another region's gateway, which has done all that is to do, but cannot know who asked for a stream's usage.
fn ofRegion(call: *Call, head: *const Head) !void {
    const stream = call.stream;
    call.elsewhere = true;
    // Of a seed that is this gateway's own there is nothing to tell.
    if (call.model != null and call.seed == null) stream.removeHeader(.response, "x-tomoul-seed");
    stream.removeHeader(.response, "x-tomoul-code"); // the other gateway's, whose line has it
    if (stream.headerCount(.response, "x-tomoul-region") == 0) {
        try bad_gateway.ofStranger(call);
    } else if (isStream(head) and call.hidden != .nothing) {
        try startStream(call, null);
    }
}

fn ofEngine(call: *Call, head: *const Head, end_of_stream: bool) !void {
    const stream, const source = .{ call.stream, call.document.source };
    const is_stream = isStream(head);
    // Only its own are left of the engine's headers, so that none of these is there.
    for (head.foreign) |name| {
        if (call.status < 400 or !std.mem.eql(u8, name, "retry-after")) stream.removeHeader(.response, name);
    }
    stream.addHeader(.response, "x-tomoul-region", source.region);
    var left: [admission.allowance_headers]abi.Pair = undefined;
    for (try admission.allowanceHeaders(call, &left)) |header| stream.addHeader(.response, header.key.slice(), header.value.slice());
    call.served = true;
    const is_none = head.is_encoded or is_stream != call.is_stream or (is_stream and end_of_stream);
    if (isNoAnswer(call.status) or (call.status == 200 and is_none)) {
        call.answer = .replaced;
        call.replacement = try bad_gateway.ofNoCompletion(call);
    } else if (call.status >= 400) {
        call.answer = .failure;
        stream.setHeader(.response, "content-type", "application/json");
        if (errors.waitOf(call.status, head.retry_after)) |seconds| {
            var digits: [3]u8 = undefined;
            stream.setHeader(.response, "retry-after", std.fmt.bufPrint(&digits, "{d}", .{seconds}) catch unreachable);
        } else stream.removeHeader(.response, "retry-after");
    } else if (is_stream) {
        if (call.seed) |seed| stream.setHeader(.response, "x-tomoul-seed", seed.text());
        try startStream(call, try names.of(call));
        // An engine finds some mistakes only once it has said 200. The first comment ends the wait, if no chunk does.
        call.rewriter.committed = source.comment_seconds == 0;
        if (!end_of_stream) try call.watch.start(stream, source.comment_seconds, call.model.?.timeouts.idle_seconds);
    } else {
        if (call.seed) |seed| stream.setHeader(.response, "x-tomoul-seed", seed.text());
        if (!std.ascii.startsWithIgnoreCase(head.content_type, "application/json"))
            stream.setHeader(.response, "content-type", "application/json");
        call.answer = .completion;
        if (head.content_length > source.max_body_bytes) try oversize.begin(call, .too_large);
    }
}

fn isStream(head: *const Head) bool {
    return head.status < 400 and std.ascii.startsWithIgnoreCase(head.content_type, "text/event-stream");
}

fn startStream(call: *Call, told: ?completion.Names) !void {
    call.answer = .stream;
    call.rewriter = try call.allocator().create(streams.Rewriter);
    call.rewriter.* = .init(call.allocator(), told, call.hidden);
    call.stream.removeHeader(.response, "content-length");
}

/// Whether an engine's status is no answer to a call, or is about the gateway that called it: no client could follow it
/// elsewhere, or show it other credentials.
fn isNoAnswer(status: u16) bool {
    return (status < 400 and status != 200) or status == 401 or status == 403 or status == 407 or status >= 600;
}
