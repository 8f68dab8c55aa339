//! The part of Envoy's dynamic module ABI that this module uses (source/extensions/dynamic_modules/abi/abi.h of Envoy
//! 1.40), declared by hand: Envoy publishes no SDK that a package registry has.
//!
//! What Envoy hands out lives until the end of the hook, or until the same thing is changed.

const std = @import("std");

pub const version = "v0.2.0";

/// Bytes of Envoy's or of ours. A null pointer as a header's value removes the header.
pub const Buffer = extern struct {
    ptr: ?[*]const u8,
    length: usize,

    pub fn of(text: []const u8) Buffer {
        return .{ .ptr = text.ptr, .length = text.len };
    }

    pub fn slice(self: Buffer) []const u8 {
        return if (self.ptr) |ptr| ptr[0..self.length] else "";
    }
};

/// A header.
pub const Pair = extern struct {
    key: Buffer,
    value: Buffer,

    pub fn of(key: []const u8, value: []const u8) Pair {
        return .{ .key = .of(key), .value = .of(value) };
    }
};

pub const LogLevel = enum(c_uint) { trace, debug, info, warn, err, critical, off };
pub const HeaderMap = enum(c_uint) { request, request_trailers, response, response_trailers };
pub const Body = enum(c_uint) { received_request, buffered_request, received_response, buffered_response };
pub const MetadataSource = enum(c_uint) { dynamic, route, cluster, host, host_locality };
pub const ResetReason = enum(c_uint) { local, local_refused };

pub const HeadersStatus = enum(c_uint) {
    @"continue",
    stop_iteration,
    continue_and_dont_end_stream,
    stop_all_iteration_and_buffer,
    stop_all_iteration_and_watermark,
};
pub const BodyStatus = enum(c_uint) {
    @"continue",
    stop_iteration_and_buffer,
    stop_iteration_and_watermark,
    stop_iteration_no_buffer,
};
pub const TrailersStatus = enum(c_uint) { @"continue", stop_iteration };
pub const LocalReplyStatus = enum(c_uint) { @"continue", continue_and_reset_stream };

const raw = struct {
    extern fn envoy_dynamic_module_callback_log(LogLevel, Buffer) void;
    extern fn envoy_dynamic_module_callback_http_get_header(*Stream, HeaderMap, Buffer, *Buffer, usize, ?*usize) bool;
    extern fn envoy_dynamic_module_callback_http_set_header(*Stream, HeaderMap, Buffer, Buffer) bool;
    extern fn envoy_dynamic_module_callback_http_add_header(*Stream, HeaderMap, Buffer, Buffer) bool;
    extern fn envoy_dynamic_module_callback_http_get_headers_size(*Stream, HeaderMap) usize;
    extern fn envoy_dynamic_module_callback_http_get_headers(*Stream, HeaderMap, [*]Pair) bool;
    extern fn envoy_dynamic_module_callback_http_send_response(*Stream, u32, [*]const Pair, usize, Buffer, Buffer) void;
    extern fn envoy_dynamic_module_callback_http_send_response_headers(*Stream, [*]const Pair, usize, bool) void;
    extern fn envoy_dynamic_module_callback_http_send_response_data(*Stream, Buffer, bool) void;
    extern fn envoy_dynamic_module_callback_http_get_body_size(*Stream, Body) usize;
    extern fn envoy_dynamic_module_callback_http_get_body_chunks_size(*Stream, Body) usize;
    extern fn envoy_dynamic_module_callback_http_get_body_chunks(*Stream, Body, [*]Buffer) bool;
    extern fn envoy_dynamic_module_callback_http_append_body(*Stream, Body, Buffer) bool;
    extern fn envoy_dynamic_module_callback_http_drain_body(*Stream, Body, usize) bool;
    extern fn envoy_dynamic_module_callback_http_get_metadata_string(*Stream, MetadataSource, Buffer, Buffer, *Buffer) bool;
    extern fn envoy_dynamic_module_callback_http_set_dynamic_metadata_string(*Stream, Buffer, Buffer, Buffer) void;
    extern fn envoy_dynamic_module_callback_http_set_filter_state_typed(*Stream, Buffer, Buffer) bool;
    extern fn envoy_dynamic_module_callback_http_clear_route_cache(*Stream) void;
    extern fn envoy_dynamic_module_callback_http_clear_route_cluster_cache(*Stream) void;
    extern fn envoy_dynamic_module_callback_http_get_cluster_host_count(*Stream, u32, *usize, *usize, *usize) bool;
    extern fn envoy_dynamic_module_callback_http_filter_continue_encoding(*Stream) void;
    extern fn envoy_dynamic_module_callback_http_filter_reset_stream(*Stream, ResetReason, Buffer) void;
    extern fn envoy_dynamic_module_callback_http_filter_scheduler_new(*Stream) ?*Scheduler;
    extern fn envoy_dynamic_module_callback_http_filter_scheduler_commit(*Scheduler, u64) void;
    extern fn envoy_dynamic_module_callback_http_filter_scheduler_delete(*Scheduler) void;
};

pub fn log(level: LogLevel, message: []const u8) void {
    raw.envoy_dynamic_module_callback_log(level, .of(message));
}

/// What wakes a stream on its worker's thread; may be used from any thread.
pub const Scheduler = opaque {
    pub fn commit(self: *Scheduler, event: u64) void {
        raw.envoy_dynamic_module_callback_http_filter_scheduler_commit(self, event);
    }

    pub fn delete(self: *Scheduler) void {
        raw.envoy_dynamic_module_callback_http_filter_scheduler_delete(self);
    }
};

/// A worker's: memory on the stack would be filled with a pattern first.
threadlocal var few: [64]Pair = undefined;

/// One HTTP stream, as Envoy knows it.
pub const Stream = opaque {
    /// The first value of a header, whose name is given in lower case.
    pub fn header(self: *Stream, map: HeaderMap, name: []const u8) ?[]const u8 {
        var found: Buffer = undefined;
        const there = raw.envoy_dynamic_module_callback_http_get_header(self, map, .of(name), &found, 0, null);
        return if (there) found.slice() else null;
    }

    /// How often a header is there.
    pub fn headerCount(self: *Stream, map: HeaderMap, name: []const u8) usize {
        var found: Buffer = undefined;
        var count: usize = 0;
        _ = raw.envoy_dynamic_module_callback_http_get_header(self, map, .of(name), &found, 0, &count);
        return count;
    }

    pub fn setHeader(self: *Stream, map: HeaderMap, name: []const u8, value: []const u8) void {
        _ = raw.envoy_dynamic_module_callback_http_set_header(self, map, .of(name), .of(value));
    }

    /// Adds a header that is known not to be there: to set one makes Envoy look for it, by a table that it then makes.
    pub fn addHeader(self: *Stream, map: HeaderMap, name: []const u8, value: []const u8) void {
        _ = raw.envoy_dynamic_module_callback_http_add_header(self, map, .of(name), .of(value));
    }

    pub fn removeHeader(self: *Stream, map: HeaderMap, name: []const u8) void {
        _ = raw.envoy_dynamic_module_callback_http_set_header(self, map, .of(name), .{ .ptr = null, .length = 0 });
    }

    /// All headers, until some are asked for again. Where there are many the list is `allocator`'s, which is an arena's.
    pub fn headers(self: *Stream, map: HeaderMap, allocator: std.mem.Allocator) ![]const Pair {
        const count = raw.envoy_dynamic_module_callback_http_get_headers_size(self, map);
        const into = if (count <= few.len) few[0..count] else try allocator.alloc(Pair, count);
        _ = raw.envoy_dynamic_module_callback_http_get_headers(self, map, into.ptr);
        return into;
    }

    /// Answers in the engine's place. The response hooks of this filter are not called for it.
    pub fn respond(self: *Stream, status: u32, reply: []const Pair, body: []const u8, details: []const u8) void {
        raw.envoy_dynamic_module_callback_http_send_response(self, status, reply.ptr, reply.len, .of(body), .of(details));
    }

    /// The same for a call that says it is gRPC's, whose answers Envoy else turns into a 200 without a body. The status is
    /// the first of `reply`.
    pub fn respondPlainly(self: *Stream, reply: []const Pair, body: []const u8) void {
        raw.envoy_dynamic_module_callback_http_send_response_headers(self, reply.ptr, reply.len, body.len == 0);
        if (body.len > 0) raw.envoy_dynamic_module_callback_http_send_response_data(self, .of(body), true);
    }

    /// Adds to the body of an answer whose headers have left. The response hooks of this filter are not called any more.
    pub fn sendData(self: *Stream, data: []const u8) void {
        raw.envoy_dynamic_module_callback_http_send_response_data(self, .of(data), false);
    }

    pub fn bodySize(self: *Stream, body: Body) usize {
        return raw.envoy_dynamic_module_callback_http_get_body_size(self, body);
    }

    pub fn chunkCount(self: *Stream, body: Body) usize {
        return raw.envoy_dynamic_module_callback_http_get_body_chunks_size(self, body);
    }

    /// The body's pieces; `into` must have room for `chunkCount` of them.
    pub fn chunks(self: *Stream, body: Body, into: []Buffer) bool {
        return raw.envoy_dynamic_module_callback_http_get_body_chunks(self, body, into.ptr);
    }

    pub fn append(self: *Stream, body: Body, data: []const u8) void {
        _ = raw.envoy_dynamic_module_callback_http_append_body(self, body, .of(data));
    }

    pub fn drain(self: *Stream, body: Body, count: usize) void {
        if (count > 0) _ = raw.envoy_dynamic_module_callback_http_drain_body(self, body, count);
    }

    /// Metadata of the host that answers; null before there is one.
    pub fn hostMetadata(self: *Stream, namespace: []const u8, key: []const u8) ?[]const u8 {
        var found: Buffer = undefined;
        const there = raw.envoy_dynamic_module_callback_http_get_metadata_string(self, .host, .of(namespace), .of(key), &found);
        return if (there) found.slice() else null;
    }

    pub fn setMetadata(self: *Stream, namespace: []const u8, key: []const u8, value: []const u8) void {
        raw.envoy_dynamic_module_callback_http_set_dynamic_metadata_string(self, .of(namespace), .of(key), .of(value));
    }

    /// False if Envoy knows no object of that name.
    pub fn setFilterState(self: *Stream, name: []const u8, value: []const u8) bool {
        return raw.envoy_dynamic_module_callback_http_set_filter_state_typed(self, .of(name), .of(value));
    }

    /// Has Envoy ask for the cluster of the route that it has found; all of the choice takes effect but for the idle time.
    pub fn chooseCluster(self: *Stream) void {
        raw.envoy_dynamic_module_callback_http_clear_route_cluster_cache(self);
    }

    /// Has Envoy find the route anew, at once and not when it is needed.
    pub fn route(self: *Stream) void {
        raw.envoy_dynamic_module_callback_http_clear_route_cache(self);
        var counts: [3]usize = undefined; // all, healthy, degraded
        _ = raw.envoy_dynamic_module_callback_http_get_cluster_host_count(self, 0, &counts[0], &counts[1], &counts[2]);
    }

    /// Lets an answer go on whose headers wait.
    pub fn continueEncoding(self: *Stream) void {
        raw.envoy_dynamic_module_callback_http_filter_continue_encoding(self);
    }

    pub fn reset(self: *Stream, details: []const u8) void {
        raw.envoy_dynamic_module_callback_http_filter_reset_stream(self, .local, .of(details));
    }

    pub fn scheduler(self: *Stream) ?*Scheduler {
        return raw.envoy_dynamic_module_callback_http_filter_scheduler_new(self);
    }
};
