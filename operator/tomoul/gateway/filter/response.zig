//! The response's side: what a client sees of an engine's answer.

const std = @import("std");
const abi = @import("abi.zig");
const admission = @import("admission.zig");
const alive = @import("alive.zig");
const bodies = @import("body.zig");
const completion = @import("completion.zig");
const errors = @import("errors.zig");
const failures = @import("failure.zig");
const faults = @import("faults.zig");
const Head = @import("head.zig").Head;
const ids = @import("ids.zig");
const instead = @import("instead.zig");
const oversize = @import("oversize.zig");
const streams = @import("stream.zig");
const text = @import("text.zig");
const Call = @import("call.zig").Call;

/// The most bytes of an engine's error that are read.
const max_failure = 64 * 1024;

threadlocal var scratch: bodies.Scratch = .{};
threadlocal var output: bodies.Scratch = .{};

/// The headers are there. True if they may leave, false if they wait for the whole body, or a stream's first event.
pub fn headers(call: *Call, end_of_stream: bool) !bool {
    const stream = call.stream;
    const own = call.document.source.region;
    if (call.local or call.dress == .client) {
        stream.setHeader(.response, "x-tomoul-region", own);
        var left: [admission.allowance_headers]abi.Pair = undefined;
        for (try admission.allowanceHeaders(call, &left)) |header| stream.setHeader(.response, header.key.slice(), header.value.slice());
        if (stream.header(.response, "x-tomoul-code")) |code| {
            call.code = try call.allocator().dupe(u8, code);
            stream.removeHeader(.response, "x-tomoul-code");
        }
        return true;
    }

    const head: Head = try .read(stream, call.allocator());
    call.status = head.status;
    const is_stream = call.status < 400 and isEventStream(head.content_type);
    if (call.dress == .gateway) {
        // Another region's gateway has done all that is to do, but cannot know who asked for a stream's usage.
        call.elsewhere = true;
        // Of a seed that is this gateway's own there is nothing to tell.
        if (call.model != null and call.seed == null) stream.removeHeader(.response, "x-tomoul-seed");
        stream.removeHeader(.response, "x-tomoul-code"); // the other gateway's, whose line has it
        if (stream.headerCount(.response, "x-tomoul-region") == 0) {
            try instead.ofStranger(call);
        } else if (is_stream and call.hidden != .nothing) {
            try startStream(call, null);
        }
    } else {
        // Only its own are left of the engine's headers, so that none of these is there.
        for (head.foreign) |name| {
            if (call.status < 400 or !std.mem.eql(u8, name, "retry-after")) stream.removeHeader(.response, name);
        }
        stream.addHeader(.response, "x-tomoul-region", own);
        var left: [admission.allowance_headers]abi.Pair = undefined;
        for (try admission.allowanceHeaders(call, &left)) |header| stream.addHeader(.response, header.key.slice(), header.value.slice());
        call.served = true;
        const is_none = head.is_encoded or is_stream != call.is_stream or (is_stream and end_of_stream);
        const is_broken = isNoAnswer(call.status) or (call.status == 200 and is_none);
        if (is_broken) {
            call.answer = .replaced;
            call.instead = try instead.ofNoCompletion(call);
        } else if (call.status >= 400) {
            call.answer = .failure;
            stream.setHeader(.response, "content-type", "application/json");
            if (errors.waitOf(call.status, head.retry_after)) |seconds| {
                var digits: [3]u8 = undefined;
                stream.setHeader(.response, "retry-after", std.fmt.bufPrint(&digits, "{d}", .{seconds}) catch unreachable);
            } else stream.removeHeader(.response, "retry-after");
        } else if (is_stream) {
            if (call.seed) |seed| stream.setHeader(.response, "x-tomoul-seed", seed.text());
            try startStream(call, try namesOf(call));
            // An engine finds some mistakes only once it has said 200. The first comment ends the wait, if no chunk does.
            call.rewriter.committed = call.document.source.comment_seconds == 0;
            if (!end_of_stream) try call.watch.start(stream, call.document.source.comment_seconds, call.model.?.timeouts.idle_seconds);
        } else {
            if (call.seed) |seed| stream.setHeader(.response, "x-tomoul-seed", seed.text());
            if (!std.ascii.startsWithIgnoreCase(head.content_type, "application/json"))
                stream.setHeader(.response, "content-type", "application/json");
            call.answer = .completion;
            if (head.content_length > call.document.source.max_body_bytes) try oversize.begin(call);
        }
    }
    switch (call.answer) {
        .passes => return true,
        .stream => return call.rewriter.committed,
        .failure, .completion, .replaced => {},
    }
    if (!end_of_stream) return false;
    const made = (try wholeBody(call, "")) orelse return true;
    stream.append(.buffered_response, made);
    bodies.setLength(stream, .response, made.len);
    return true;
}

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
        },
        .failure, .completion => {
            const buffered = call.stream.bodySize(.buffered_response) + call.stream.bodySize(.received_response);
            if (call.answer == .completion and buffered > call.document.source.max_body_bytes) {
                try oversize.begin(call);
                if (!end_of_stream) return .stop_iteration_no_buffer;
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
        call.watch.stop();
        call.answer, call.instead = .{ .replaced, failed.body };
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
    if (!call.watch.isRunning() or call.rewriter.done) return;
    switch (@as(alive.Event, @enumFromInt(event))) {
        .comment => {
            call.comments = true;
            defer call.comments = false;
            if (!call.rewriter.committed) {
                call.rewriter.committed = true;
                call.stream.continueEncoding();
                if (call.ended) return;
            }
            if (call.voice) |voice| voice.sendData(call.rewriter.comment());
        },
        .over => {
            call.watch.stop();
            call.code = "timeout";
            call.answer = .passes;
            call.stream.reset("tomoul_idle");
        },
    }
}

fn isEventStream(content_type: []const u8) bool {
    return std.ascii.startsWithIgnoreCase(content_type, "text/event-stream");
}

fn newId(call: *Call) ![]const u8 {
    const now: u64 = @intCast(@max(0, std.time.milliTimestamp()));
    const id = ids.completionId(now);
    const made = try call.allocator().alloc(u8, id.len + 2);
    made[0] = '"';
    @memcpy(made[1..][0..id.len], &id);
    made[made.len - 1] = '"';
    return made;
}

fn namesOf(call: *Call) !completion.Names {
    const model = call.model orelse unreachable; // pools are reached by a model's route only
    const uncached = model.no_store == .pool and std.mem.eql(u8, call.cache orelse "", "no-store");
    const fingerprint = if (uncached) model.no_store_fingerprint orelse model.fingerprint else model.fingerprint;
    return .{
        .id = try newId(call),
        .model = try text.quoted(call.allocator(), model.id),
        .fingerprint = try text.quoted(call.allocator(), fingerprint),
    };
}

fn startStream(call: *Call, names: ?completion.Names) !void {
    call.answer = .stream;
    call.rewriter = try call.allocator().create(streams.Rewriter);
    call.rewriter.* = .init(call.allocator(), names, call.hidden);
    call.stream.removeHeader(.response, "content-length");
}

fn rewriteChunk(call: *Call, end_of_stream: bool) !void {
    const stream, const allocator = .{ call.stream, std.heap.c_allocator };
    if (end_of_stream) call.watch.stop() else call.watch.heard();
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
    if (end_of_stream) try call.rewriter.finish(out, allocator);
    faults.at(stream, "rewritten chunk");
    stream.drain(.received_response, size);
    if (out.items.len > 0) stream.append(.received_response, out.items);
    if (call.rewriter.names == null) return;
    // At once, since a client that goes away ends this without a word.
    if (call.rewriter.usage) |usage| call.usage = usage;
    if (call.rewriter.code) |code| call.code = code;
    if (call.ttft_ms == null and call.rewriter.has_token) call.ttft_ms = call.elapsedMilliseconds();
}

/// Whether an engine's status is no answer to a call, or is about the gateway that called it: no client could follow it
/// elsewhere, or show it other credentials.
fn isNoAnswer(status: u16) bool {
    return (status < 400 and status != 200) or status == 401 or status == 403 or status == 407 or status >= 600;
}

/// An error whose body is too long for one leaves without what its engine says of it.
fn forgetFailure(call: *Call) !abi.BodyStatus {
    const made = try failures.normal(call.allocator(), "", call.status);
    call.answer, call.instead, call.code = .{ .replaced, made.body, made.code };
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
fn wholeBody(call: *Call, answered: []const u8) !?[]const u8 {
    const allocator = call.allocator();
    switch (call.answer) {
        .passes, .stream => return null,
        .replaced => return call.instead,
        .failure => {
            const made = try failures.normal(allocator, answered, call.status);
            call.code = made.code;
            judge(call, made.status);
            return made.body;
        },
        .completion => {
            const made = try completion.rewritten(allocator, answered, try namesOf(call));
            call.usage = made.usage;
            return made.body orelse try instead.ofNoCompletion(call);
        },
    }
}
