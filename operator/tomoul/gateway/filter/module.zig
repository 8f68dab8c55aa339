//! The module as Envoy sees it: its hooks, each behind a guard.
//!
//! A bug must not take the gateway down or let a call pass: a panic in a hook ends that call, with a 500 before the answer
//! has begun and with a reset after.

const std = @import("std");
const abi = @import("abi.zig");
const faults = @import("faults.zig");
const request = @import("request.zig");
const response = @import("response.zig");
const voice = @import("voice.zig");
const Call = @import("call.zig").Call;
const Document = @import("document.zig").Document;

extern fn tomoul_guarded(work: *const fn (*anyopaque) callconv(.c) void, context: *anyopaque) bool;
extern fn tomoul_leave() noreturn;

comptime {
    _ = @import("balancer.zig");
    _ = @import("unused.zig");
}

pub const panic = std.debug.FullPanic(leave);

threadlocal var panic_message: [256]u8 = undefined;
threadlocal var panic_length: usize = 0;

fn leave(message: []const u8, _: ?usize) noreturn {
    panic_length = @min(message.len, panic_message.len);
    @memcpy(panic_message[0..panic_length], message[0..panic_length]);
    tomoul_leave();
}

/// The result of `function`, null if it panicked or failed; `name` is for the log.
pub fn guarded(comptime name: []const u8, comptime function: anytype, arguments: std.meta.ArgsTuple(@TypeOf(function))) ?Payload(@TypeOf(function)) {
    const Context = struct {
        arguments: std.meta.ArgsTuple(@TypeOf(function)),
        result: @typeInfo(@TypeOf(function)).@"fn".return_type.? = undefined,

        fn run(pointer: *anyopaque) callconv(.c) void {
            const self: *@This() = @ptrCast(@alignCast(pointer));
            self.result = @call(.auto, function, self.arguments);
        }
    };
    var context: Context = .{ .arguments = arguments };
    if (!tomoul_guarded(Context.run, &context)) {
        report(name, panic_message[0..panic_length]);
        return null;
    }
    return context.result catch |problem| {
        report(name, @errorName(problem));
        return null;
    };
}

fn Payload(comptime Function: type) type {
    return @typeInfo(@typeInfo(Function).@"fn".return_type.?).error_union.payload;
}

fn report(name: []const u8, message: []const u8) void {
    var buffer: [512]u8 = undefined;
    abi.log(.err, std.fmt.bufPrint(&buffer, "tomoul: bug in {s}: {s}", .{ name, message }) catch name);
}

export fn envoy_dynamic_module_on_program_init() ?[*:0]const u8 {
    return abi.version;
}

export fn envoy_dynamic_module_on_http_filter_config_new(_: *anyopaque, name: abi.Buffer, config: abi.Buffer) ?*const Document {
    if (std.mem.eql(u8, name.slice(), voice.name)) return voice.document();
    return guarded("configuration", readDocument, .{config.slice()});
}

fn readDocument(bytes: []const u8) !*const Document {
    var where: usize = 0;
    return Document.read(std.heap.c_allocator, bytes, &where) catch |problem| {
        var buffer: [256]u8 = undefined;
        abi.log(.err, std.fmt.bufPrint(&buffer, "tomoul: the document is refused: {s} at byte {d} of {d}", .{ @errorName(problem), where, bytes.len }) catch unreachable);
        return problem;
    };
}

export fn envoy_dynamic_module_on_http_filter_config_destroy(document: *Document) void {
    if (voice.isDocument(document)) return;
    document.destroy();
}

export fn envoy_dynamic_module_on_http_filter_new(document: *const Document, stream: *abi.Stream) ?*Call {
    if (voice.isDocument(document)) return voice.create(stream);
    return guarded("stream", Call.create, .{ document, stream });
}

export fn envoy_dynamic_module_on_http_filter_request_headers(_: *abi.Stream, call: *Call, end_of_stream: bool) abi.HeadersStatus {
    if (voice.is(call)) return .@"continue";
    call.enter();
    defer call.leave();
    const goes_on = guarded("request headers", requestHeaders, .{ call, end_of_stream }) orelse {
        fail(call);
        return .stop_iteration;
    };
    return if (goes_on) .@"continue" else .stop_iteration;
}

fn requestHeaders(call: *Call, end_of_stream: bool) !bool {
    faults.at(call.stream, "request headers");
    return request.headers(call, end_of_stream) catch |problem| if (problem == error.Refused) false else problem;
}

export fn envoy_dynamic_module_on_http_filter_request_body(_: *abi.Stream, call: *Call, end_of_stream: bool) abi.BodyStatus {
    if (voice.is(call)) return .@"continue";
    if (call.local) return .stop_iteration_no_buffer;
    if (!call.reads_body) return .@"continue";
    call.enter();
    defer call.leave();
    const goes_on = guarded("request body", requestBody, .{ call, end_of_stream, .received_request }) orelse {
        fail(call);
        return .stop_iteration_no_buffer;
    };
    if (goes_on) return .@"continue";
    return if (call.local) .stop_iteration_no_buffer else .stop_iteration_and_buffer;
}

fn requestBody(call: *Call, end_of_stream: bool, place: abi.Body) !bool {
    faults.at(call.stream, "request body");
    if (end_of_stream) {
        request.body(call, place) catch |problem| return if (problem == error.Refused) false else problem;
        return true;
    }
    request.bodyPart(call) catch |problem| return if (problem == error.Refused) false else problem;
    return false;
}

export fn envoy_dynamic_module_on_http_filter_request_trailers(_: *abi.Stream, call: *Call) abi.TrailersStatus {
    if (voice.is(call)) return .@"continue";
    if (call.local) return .stop_iteration;
    if (!call.reads_body) return .@"continue";
    call.enter();
    defer call.leave();
    const goes_on = guarded("request trailers", requestBody, .{ call, true, .buffered_request }) orelse {
        fail(call);
        return .stop_iteration;
    };
    return if (goes_on) .@"continue" else .stop_iteration;
}

/// Answers a call that a bug has met.
fn fail(call: *Call) void {
    if (call.local) return;
    call.local = true;
    call.reads_body = false;
    call.code = "internal_error";
    call.stream.respond(500, &.{
        .of("content-type", "application/json"),
        .of("x-tomoul-region", call.document.source.region),
    }, "{\"error\":{\"message\":\"The gateway failed\",\"type\":\"server_error\",\"param\":null,\"code\":\"internal_error\"}}", "tomoul");
}

export fn envoy_dynamic_module_on_http_filter_response_headers(_: *abi.Stream, call: *Call, end_of_stream: bool) abi.HeadersStatus {
    if (voice.is(call)) return .@"continue";
    call.enter();
    defer call.leave();
    const goes_on = guarded("response headers", responseHeaders, .{ call, end_of_stream }) orelse {
        breakOff(call);
        return .stop_iteration;
    };
    return if (goes_on) .@"continue" else .stop_iteration;
}

fn responseHeaders(call: *Call, end_of_stream: bool) !bool {
    faults.at(call.stream, "response headers");
    return response.headers(call, end_of_stream);
}

export fn envoy_dynamic_module_on_http_filter_response_body(_: *abi.Stream, call: *Call, end_of_stream: bool) abi.BodyStatus {
    if (voice.is(call)) return .@"continue";
    if (call.answer == .passes or call.comments) return .@"continue";
    call.enter();
    defer call.leave();
    return guarded("response body", responseBody, .{ call, end_of_stream }) orelse {
        breakOff(call);
        return .stop_iteration_no_buffer;
    };
}

fn responseBody(call: *Call, end_of_stream: bool) !abi.BodyStatus {
    faults.at(call.stream, "response body");
    return response.body(call, end_of_stream);
}

export fn envoy_dynamic_module_on_http_filter_response_trailers(_: *abi.Stream, call: *Call) abi.TrailersStatus {
    if (voice.is(call)) return .@"continue";
    call.enter();
    defer call.leave();
    guarded("response trailers", response.trailers, .{call}) orelse {
        breakOff(call);
        return .stop_iteration;
    };
    return .@"continue";
}

/// Ends an answer in a way that no client takes for its end.
fn breakOff(call: *Call) void {
    call.code = "internal_error";
    call.answer = .passes;
    call.watch.stop();
    call.stream.reset("tomoul");
}

export fn envoy_dynamic_module_on_http_filter_local_reply(_: *abi.Stream, call: *Call, _: u32, _: abi.Buffer, _: bool) abi.LocalReplyStatus {
    if (voice.is(call)) return .@"continue";
    call.local = true;
    return .@"continue";
}

export fn envoy_dynamic_module_on_http_filter_stream_complete(_: *abi.Stream, call: *Call) void {
    if (voice.is(call)) return;
    call.tell();
}

export fn envoy_dynamic_module_on_http_filter_destroy(call: *Call) void {
    if (voice.is(call)) return;
    call.end();
}

export fn envoy_dynamic_module_on_http_filter_scheduled(_: *abi.Stream, call: *Call, event: u64) void {
    if (voice.is(call)) return;
    call.enter();
    defer call.leave();
    guarded("silence", response.silence, .{ call, event }) orelse breakOff(call);
}
