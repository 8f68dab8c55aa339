//! The body of an answer: a stream as it passes, anything else in one piece.

const std = @import("std");
const abi = @import("abi.zig");
const bad_gateway = @import("bad_gateway.zig");
const bodies = @import("body.zig");
const completion = @import("completion.zig");
const errors = @import("errors.zig");
const failures = @import("failure.zig");
const faults = @import("faults.zig");
const keepalive = @import("keepalive.zig");
const names = @import("names.zig");
const oversize = @import("oversize.zig");
const text = @import("text.zig");
const Call = @import("call.zig").Call;

/// Within how many seconds an engine has to end a stream that has failed.
const end_seconds = 2;
/// The most bytes of an engine's error that are read.
const max_failure = 64 * 1024;

threadlocal var scratch: bodies.Scratch = .{};
threadlocal var output: bodies.Scratch = .{};

/// Part of the body has arrived, perhaps the last.
pub fn body(call: *Call, end_of_stream: bool) !abi.BodyStatus {
    switch (call.answer) {
        .passes => return .@"continue",
        .stream => {
            const waits = !call.rewriter.committed;
            try rewriteChunk(call, end_of_stream);
            return if (waits) commit(call, end_of_stream) else .@"continue";
        },
        .replaced => {
            try oversize.pass(call);
            if (!end_of_stream) return .stop_iteration_no_buffer;
            call.watch.stop();
        },
        .failure, .completion => {
            const buffered = call.stream.bodySize(.buffered_response) + call.stream.bodySize(.received_response);
            if (call.answer == .completion) {
                const may = &call.document.source;
                const has_room = call.held.hold(buffered, may.max_held_bytes);
                if (!has_room or buffered > may.max_body_bytes) {
                    try oversize.begin(call, if (has_room) .too_large else .no_room);
                    if (!end_of_stream) return .stop_iteration_no_buffer;
                }
            }
            // Not `and_buffer`, by which Envoy answers 500 once its own limit is passed, be it by what is to pass on.
            if (!end_of_stream) return if (call.answer == .failure and buffered > max_failure) forgetFailure(call) else .stop_iteration_and_watermark;
        },
    }
    try replaceBody(call, .received_response);
    return .@"continue";
}

/// Lets the headers of a stream go once something comes of it, and be it that it has failed.
fn commit(call: *Call, end_of_stream: bool) !abi.BodyStatus {
    const stream = call.stream;
    if (call.rewriter.failed) |failed| {
        call.answer, call.replacement = .{ .replaced, failed.body };
        stream.setHeader(.response, "content-type", "application/json");
        stream.removeHeader(.response, "x-tomoul-seed");
        judge(call, failed.status);
        stream.drain(.received_response, stream.bodySize(.received_response));
        if (!end_of_stream) return .stop_iteration_no_buffer;
        try replaceBody(call, .received_response);
        return .@"continue";
    }
    if (!end_of_stream and !call.rewriter.committed and stream.bodySize(.received_response) == 0) return .stop_iteration_no_buffer;
    call.rewriter.committed = true;
    return .@"continue";
}

/// The body has ended, and trailers follow.
pub fn trailers(call: *Call) !void {
    call.watch.stop();
    switch (call.answer) {
        .passes => {},
        .stream => if (!call.rewriter.done) return error.BrokenStream,
        .replaced, .failure, .completion => try replaceBody(call, .buffered_response),
    }
}

/// The engine of a stream has been silent for so long that something is due.
pub fn silence(call: *Call, event: u64) !void {
    // What was sent before the end may arrive after it.
    if (!call.watch.isRunning()) return;
    if (call.rewriter.code != null) return if (call.answer == .replaced) answerAtOnce(call) else reset(call, "tomoul_failed");
    if (call.rewriter.done) return;
    switch (@as(keepalive.Event, @enumFromInt(event))) {
        .comment => {
            call.comments = true;
            defer call.comments = false;
            if (!call.rewriter.committed) {
                call.rewriter.committed = true;
                call.stream.continueEncoding();
                if (call.ended) return;
            }
            if (call.commenter) |commenter| commenter.sendData(call.rewriter.comment());
        },
        .over => {
            call.code = "timeout";
            reset(call, "tomoul_idle");
        },
    }
}

/// Gives an answer that waits for the engine's end without it, and ends the engine's work.
fn answerAtOnce(call: *Call) !void {
    call.watch.stop();
    call.answer = .passes;
    var headers: [errors.common_headers]abi.Pair = undefined;
    call.stream.respond(call.status, try errors.commonHeaders(call, call.status, false, &headers), call.replacement, "tomoul");
}

/// Ends an answer that has begun, and its engine's work.
fn reset(call: *Call, details: []const u8) void {
    call.watch.stop();
    call.charge(); // while it is a stream, whose chunks count
    call.answer = .passes;
    call.stream.reset(details);
}

fn rewriteChunk(call: *Call, end_of_stream: bool) !void {
    const stream, const allocator = .{ call.stream, std.heap.c_allocator };
    const failed_before = call.rewriter.code != null;
    if (end_of_stream) call.watch.stop() else if (!failed_before) call.watch.heard();
    const out = output.begin();
    defer output.clear();
    const size = stream.bodySize(.received_response);
    if (size > 0) {
        var one: [1]abi.Buffer = undefined;
        const count = stream.chunkCount(.received_response);
        if (count == 1 and stream.chunks(.received_response, &one)) {
            try call.rewriter.feed(one[0].slice(), out, allocator);
        } else {
            const copy = scratch.begin();
            defer scratch.clear();
            try bodies.gather(stream, .received_response, count, copy, allocator);
            try call.rewriter.feed(copy.items, out, allocator);
        }
    }
    if (!call.held.hold(call.rewriter.rest.items.len, call.document.source.max_held_bytes)) try call.rewriter.breakOff(out, allocator);
    if (end_of_stream) try call.rewriter.finish(out, allocator) else if (call.rewriter.code != null and !failed_before) try call.watch.endIn(stream, end_seconds);
    faults.at(stream, "rewritten chunk");
    stream.drain(.received_response, size);
    if (out.items.len > 0) stream.append(.received_response, out.items);
    if (call.rewriter.names == null) return;
    // At once, since a client that goes away ends this without a word.
    if (call.rewriter.usage) |usage| call.usage = usage;
    if (call.rewriter.code) |code| call.code, call.code_label = .{ code, call.rewriter.code_label };
    if (call.ttft_ms == null and call.rewriter.has_token) call.ttft_ms = call.elapsedMilliseconds();
}

/// An error whose body is too long for one leaves without what its engine says of it.
fn forgetFailure(call: *Call) !abi.BodyStatus {
    const made = try failures.normal(call.allocator(), "", call.status);
    call.answer, call.replacement, call.code = .{ .replaced, made.body, made.code };
    judge(call, made.status);
    for ([_]abi.Body{ .buffered_response, .received_response }) |which| call.stream.drain(which, call.stream.bodySize(which));
    return .stop_iteration_no_buffer;
}

/// Gives an engine's error the status that it should have, and says whether to try again.
fn judge(call: *Call, status: u16) void {
    if (status != call.status) {
        var digits: [20]u8 = undefined;
        call.stream.setHeader(.response, ":status", text.decimal(&digits, status));
        call.stream.removeHeader(.response, "retry-after");
        call.status = status;
    }
    if (!errors.worthAnotherTry(status)) call.stream.setHeader(.response, "x-should-retry", "false");
}

fn replaceBody(call: *Call, which: abi.Body) !void {
    const stream = call.stream;
    defer scratch.clear();
    const answered = try bodies.whole(stream, .buffered_response, .received_response, &scratch);
    const made = (try wholeBody(call, answered.bytes)) orelse return;
    stream.drain(.buffered_response, stream.bodySize(.buffered_response));
    stream.drain(.received_response, stream.bodySize(.received_response));
    stream.append(which, made);
    bodies.setLength(stream, .response, made.len);
}

/// What the client gets in the place of `answered`; null to leave it as it is.
pub fn wholeBody(call: *Call, answered: []const u8) !?[]const u8 {
    const allocator = call.allocator();
    switch (call.answer) {
        .passes, .stream => return null,
        .replaced => return call.replacement,
        .failure => {
            const made = try failures.normal(allocator, answered, call.status);
            call.code, call.code_label = .{ made.code, made.word };
            judge(call, made.status);
            return made.body;
        },
        .completion => {
            const made = try completion.rewritten(allocator, answered, try names.of(call));
            call.usage = made.usage;
            return made.body orelse try bad_gateway.ofNoCompletion(call);
        },
    }
}
