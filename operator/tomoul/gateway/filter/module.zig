//! The module as Envoy sees it: its hooks, each behind a guard.
//!
//! A bug must not take the gateway down or let a call pass: a panic in a hook ends that call, with a 500 before the answer
//! has begun and with a reset after.

const std = @import("std");
const abi = @import("abi.zig");
const admission = @import("admission.zig");
const abi_log = @import("abi_log.zig");
const faults = @import("faults.zig");
const guard = @import("guard.zig");
const journal = @import("journal.zig");
const logger = @import("logger.zig");
const request = @import("request.zig");
const response_body = @import("response_body.zig");
const response_headers = @import("response_headers.zig");
const keepalive_filter = @import("keepalive_filter.zig");
const Call = @import("call.zig").Call;
const Document = @import("document.zig").Document;

comptime {
    _ = @import("balancer.zig");
    _ = @import("cluster_specifier.zig");
    _ = logger;
    _ = @import("unused.zig");
}

pub const panic = guard.panic;
const guarded = guard.guarded;

export fn envoy_dynamic_module_on_program_init() ?[*:0]const u8 {
    return abi.version;
}

/// A filter's configuration: the document, where the metrics are, or nothing.
const Config = union(enum) {
    document: *const Document,
    keepalive: *journal.Destination,

    fn create(config: *abi_log.Config, name: []const u8, bytes: []const u8) !*const Config {
        const self = try std.heap.c_allocator.create(Config);
        errdefer std.heap.c_allocator.destroy(self);
        self.* = if (std.mem.eql(u8, name, keepalive_filter.name))
            .{ .keepalive = try .create(config) }
        else
            .{ .document = try readDocument(bytes) };
        return self;
    }
};

export fn envoy_dynamic_module_on_http_filter_config_new(config: *abi_log.Config, name: abi.Buffer, bytes: abi.Buffer) ?*const Config {
    return guarded("configuration", Config.create, .{ config, name.slice(), bytes.slice() });
}

fn readDocument(bytes: []const u8) !*const Document {
    var where: usize = 0;
    return Document.read(std.heap.c_allocator, bytes, &where) catch |problem| {
        var buffer: [256]u8 = undefined;
        abi.log(.err, std.fmt.bufPrint(&buffer, "tomoul: the document is refused: {s} at byte {d} of {d}", .{ @errorName(problem), where, bytes.len }) catch unreachable);
        return problem;
    };
}

export fn envoy_dynamic_module_on_http_filter_config_destroy(config: *const Config) void {
    switch (config.*) {
        .document => |document| @constCast(document).destroy(),
        .keepalive => |destination| destination.destroy(),
    }
    std.heap.c_allocator.destroy(config);
}

export fn envoy_dynamic_module_on_http_filter_config_scheduled(_: *abi_log.Config, config: *const Config, _: u64) void {
    switch (config.*) {
        .document => {},
        .keepalive => |destination| guarded("metrics", journal.Destination.collect, .{destination}) orelse {},
    }
}

export fn envoy_dynamic_module_on_http_filter_new(config: *const Config, stream: *abi.Stream) ?*Call {
    return switch (config.*) {
        .document => |document| guarded("stream", Call.create, .{ document, stream }),
        .keepalive => keepalive_filter.create(stream),
    };
}

export fn envoy_dynamic_module_on_http_filter_request_headers(_: *abi.Stream, call: *Call, end_of_stream: bool) abi.HeadersStatus {
    if (keepalive_filter.is(call)) return .@"continue";
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
    if (keepalive_filter.is(call)) return .@"continue";
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
    if (keepalive_filter.is(call)) return .@"continue";
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
    if (keepalive_filter.is(call)) return .@"continue";
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
    return response_headers.headers(call, end_of_stream);
}

export fn envoy_dynamic_module_on_http_filter_response_body(_: *abi.Stream, call: *Call, end_of_stream: bool) abi.BodyStatus {
    if (keepalive_filter.is(call)) return .@"continue";
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
    return response_body.body(call, end_of_stream);
}

export fn envoy_dynamic_module_on_http_filter_response_trailers(_: *abi.Stream, call: *Call) abi.TrailersStatus {
    if (keepalive_filter.is(call)) return .@"continue";
    call.enter();
    defer call.leave();
    guarded("response trailers", response_body.trailers, .{call}) orelse {
        breakOff(call);
        return .stop_iteration;
    };
    return .@"continue";
}

/// Ends an answer in a way that no client takes for its end.
fn breakOff(call: *Call) void {
    call.code, call.code_label = .{ "internal_error", null };
    call.answer = .passes;
    call.watch.stop();
    call.stream.reset("tomoul");
}

export fn envoy_dynamic_module_on_http_filter_local_reply(_: *abi.Stream, call: *Call, _: u32, _: abi.Buffer, _: bool) abi.LocalReplyStatus {
    if (keepalive_filter.is(call)) return .@"continue";
    // What the filter answers itself has them.
    if (!call.local) guarded("local reply", admission.leaveAllowance, .{call}) orelse {};
    call.local = true;
    return .@"continue";
}

export fn envoy_dynamic_module_on_http_filter_stream_complete(_: *abi.Stream, call: *Call) void {
    if (keepalive_filter.is(call)) return;
    logger.expect(call);
}

export fn envoy_dynamic_module_on_http_filter_destroy(call: *Call) void {
    if (keepalive_filter.is(call)) return;
    call.end();
}

export fn envoy_dynamic_module_on_http_filter_scheduled(_: *abi.Stream, call: *Call, event: u64) void {
    if (keepalive_filter.is(call)) return;
    call.enter();
    defer call.leave();
    guarded("silence", response_body.silence, .{ call, event }) orelse breakOff(call);
}
