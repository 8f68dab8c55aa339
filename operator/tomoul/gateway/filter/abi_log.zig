//! The part of Envoy's dynamic module ABI that is about access loggers and metrics (see abi.zig).

const abi = @import("abi.zig");
const Buffer = abi.Buffer;

/// Times of a call: nanoseconds since it began, -1 where there is none.
pub const Timing = extern struct {
    start_unix: i64,
    complete: i64,
    first_upstream_sent: i64,
    last_upstream_sent: i64,
    first_upstream_received: i64,
    last_upstream_received: i64,
    first_downstream_sent: i64,
    last_downstream_sent: i64,
};

/// Bytes of bodies, and those of the wire to the engine.
pub const Sizes = extern struct { received: u64, sent: u64, wire_received: u64, wire_sent: u64 };

const raw = struct {
    extern fn envoy_dynamic_module_callback_access_logger_get_header_value(*Entry, abi.HeaderMap, Buffer, *Buffer, usize, ?*usize) bool;
    extern fn envoy_dynamic_module_callback_access_logger_get_timing_info(*Entry, *Timing) void;
    extern fn envoy_dynamic_module_callback_access_logger_get_bytes_info(*Entry, *Sizes) void;
    extern fn envoy_dynamic_module_callback_access_logger_get_response_code(*Entry) u32;
    extern fn envoy_dynamic_module_callback_access_logger_get_response_code_details(*Entry, *Buffer) bool;
    extern fn envoy_dynamic_module_callback_access_logger_get_response_flags(*Entry) u64;
    extern fn envoy_dynamic_module_callback_access_logger_get_request_id(*Entry, *Buffer) bool;
    extern fn envoy_dynamic_module_callback_access_logger_get_upstream_cluster(*Entry, *Buffer) bool;
    extern fn envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(*Entry, *Buffer, *u32) bool;
    extern fn envoy_dynamic_module_callback_access_logger_get_attempt_count(*Entry) u32;
    extern fn envoy_dynamic_module_callback_http_filter_config_define_counter(*Config, Buffer, [*]const Buffer, usize, *usize) c_uint;
    extern fn envoy_dynamic_module_callback_http_filter_config_define_histogram(*Config, Buffer, [*]const Buffer, usize, *usize) c_uint;
    extern fn envoy_dynamic_module_callback_http_filter_config_increment_counter(*Config, usize, [*]const Buffer, usize, u64) c_uint;
    extern fn envoy_dynamic_module_callback_http_filter_config_record_histogram_value(*Config, usize, [*]const Buffer, usize, u64) c_uint;
    extern fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(*Config) ?*Scheduler;
    extern fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(*Scheduler, u64) void;
    extern fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(*Scheduler) void;
};

/// A call that is over, as an access logger sees it; only within its hook.
pub const Entry = opaque {
    pub fn header(self: *Entry, map: abi.HeaderMap, name: []const u8) ?[]const u8 {
        var found: Buffer = undefined;
        const there = raw.envoy_dynamic_module_callback_access_logger_get_header_value(self, map, .of(name), &found, 0, null);
        return if (there) found.slice() else null;
    }

    pub fn timing(self: *Entry) Timing {
        var made: Timing = undefined;
        raw.envoy_dynamic_module_callback_access_logger_get_timing_info(self, &made);
        return made;
    }

    pub fn sizes(self: *Entry) Sizes {
        var made: Sizes = undefined;
        raw.envoy_dynamic_module_callback_access_logger_get_bytes_info(self, &made);
        return made;
    }

    /// 0 if nothing was answered.
    pub fn status(self: *Entry) u32 {
        return raw.envoy_dynamic_module_callback_access_logger_get_response_code(self);
    }

    pub fn details(self: *Entry) ?[]const u8 {
        return text(raw.envoy_dynamic_module_callback_access_logger_get_response_code_details, self);
    }

    /// A bit for each of Envoy's response flags, in their order.
    pub fn flags(self: *Entry) u64 {
        return raw.envoy_dynamic_module_callback_access_logger_get_response_flags(self);
    }

    pub fn requestId(self: *Entry) ?[]const u8 {
        return text(raw.envoy_dynamic_module_callback_access_logger_get_request_id, self);
    }

    pub fn cluster(self: *Entry) ?[]const u8 {
        return text(raw.envoy_dynamic_module_callback_access_logger_get_upstream_cluster, self);
    }

    pub const Address = struct { ip: []const u8, port: u32 };

    pub fn upstream(self: *Entry) ?Address {
        var ip: Buffer = undefined;
        var port: u32 = 0;
        const there = raw.envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(self, &ip, &port);
        return if (there) .{ .ip = ip.slice(), .port = port } else null;
    }

    pub fn attempts(self: *Entry) u32 {
        return raw.envoy_dynamic_module_callback_access_logger_get_attempt_count(self);
    }

    fn text(comptime get: anytype, self: *Entry) ?[]const u8 {
        var found: Buffer = undefined;
        return if (get(self, &found)) found.slice() else null;
    }
};

/// A filter's configuration in Envoy, which owns metrics; for the main thread.
pub const Config = opaque {
    /// The metric's number; null if Envoy takes no more.
    pub fn counter(self: *Config, name: []const u8, labels: []const Buffer) ?usize {
        var id: usize = undefined;
        const result = raw.envoy_dynamic_module_callback_http_filter_config_define_counter(self, .of(name), labels.ptr, labels.len, &id);
        return if (result == 0) id else null;
    }

    pub fn histogram(self: *Config, name: []const u8, labels: []const Buffer) ?usize {
        var id: usize = undefined;
        const result = raw.envoy_dynamic_module_callback_http_filter_config_define_histogram(self, .of(name), labels.ptr, labels.len, &id);
        return if (result == 0) id else null;
    }

    pub fn add(self: *Config, id: usize, labels: []const Buffer, value: u64) void {
        _ = raw.envoy_dynamic_module_callback_http_filter_config_increment_counter(self, id, labels.ptr, labels.len, value);
    }

    pub fn record(self: *Config, id: usize, labels: []const Buffer, value: u64) void {
        _ = raw.envoy_dynamic_module_callback_http_filter_config_record_histogram_value(self, id, labels.ptr, labels.len, value);
    }

    pub fn scheduler(self: *Config) ?*Scheduler {
        return raw.envoy_dynamic_module_callback_http_filter_config_scheduler_new(self);
    }
};

/// What has a configuration's hook called on the main thread; may be used from any thread.
pub const Scheduler = opaque {
    pub fn commit(self: *Scheduler) void {
        raw.envoy_dynamic_module_callback_http_filter_config_scheduler_commit(self, 0);
    }

    pub fn delete(self: *Scheduler) void {
        raw.envoy_dynamic_module_callback_http_filter_config_scheduler_delete(self);
    }
};
