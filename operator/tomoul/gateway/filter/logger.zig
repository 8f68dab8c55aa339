//! The access logger as Envoy sees it: one for each thread, called once for every call that is over, and for what never
//! became one. The filter's call is still there then, and ends behind it.

const std = @import("std");
const abi = @import("abi.zig");
const abi_log = @import("abi_log.zig");
const guard = @import("guard.zig");
const journal = @import("journal.zig");
const line = @import("line.zig");
const metrics = @import("metrics.zig");
const Call = @import("call.zig").Call;
const Facts = @import("facts.zig").Facts;
const Text = @import("text.zig").Text;

const allocator = std.heap.c_allocator;

/// The call of this thread that is over and has no line yet.
threadlocal var over: ?*Call = null;
threadlocal var scratch: Text = .{};
threadlocal var key: [1024]u8 = undefined;

/// Envoy calls the logger next.
pub fn expect(call: *Call) void {
    over = call;
}

pub fn forget(call: *const Call) void {
    if (over == call) over = null;
}

const Config = struct {
    region: []const u8,

    fn create(region: []const u8) !*Config {
        const self = try allocator.create(Config);
        errdefer allocator.destroy(self);
        self.* = .{ .region = try allocator.dupe(u8, region) };
        return self;
    }
};

const Logger = struct {
    region: []const u8,
    worker: *journal.Worker,

    fn create(config: *const Config) !*Logger {
        const self = try allocator.create(Logger);
        errdefer allocator.destroy(self);
        self.* = .{ .region = config.region, .worker = try .create() };
        return self;
    }

    fn add(self: *Logger, entry: *abi_log.Entry) !void {
        defer over = null;
        const told: Facts = .of(entry, over, self.region);
        scratch.clearRetainingCapacity();
        try line.append(&scratch, allocator, &told);
        try self.worker.add(scratch.items, metrics.keyOf(&told, &key), &told);
    }
};

export fn envoy_dynamic_module_on_access_logger_config_new(_: *anyopaque, _: abi.Buffer, region: abi.Buffer) ?*const Config {
    return guard.guarded("access logger's configuration", Config.create, .{region.slice()});
}

export fn envoy_dynamic_module_on_access_logger_config_destroy(config: *Config) void {
    allocator.free(config.region);
    allocator.destroy(config);
}

export fn envoy_dynamic_module_on_access_logger_new(config: *const Config, _: *anyopaque) ?*Logger {
    return guard.guarded("access logger", Logger.create, .{config});
}

export fn envoy_dynamic_module_on_access_logger_log(entry: *abi_log.Entry, logger: *Logger, _: c_uint) void {
    guard.guarded("line", Logger.add, .{ logger, entry }) orelse {};
}

export fn envoy_dynamic_module_on_access_logger_flush(logger: *Logger) void {
    logger.worker.flush();
}

export fn envoy_dynamic_module_on_access_logger_destroy(logger: *Logger) void {
    logger.worker.destroy();
    allocator.destroy(logger);
}
