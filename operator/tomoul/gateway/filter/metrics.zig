//! Prometheus metrics of calls, under the prefix `envoy_tomoul_`: docs/usage.md.
//!
//! To find one of Envoy's counters by its labels takes more work than all else that is done for a call, so calls with the
//! same labels are added up by each worker and given to Envoy many at a time, on its main thread.

const std = @import("std");
const abi = @import("abi.zig");
const abi_log = @import("abi_log.zig");
const facts = @import("facts.zig");
const text = @import("text.zig");
const Facts = facts.Facts;

const Label = enum { model, region, tenant, status, code, served, flags, pin, cache, trial, answered_by };
const label_count = std.enums.values(Label).len;

const metered = [_]Label{ .model, .region, .tenant };
const tried = [_]Label{ .model, .region, .trial };

const Metric = enum {
    calls_total,
    pinned_calls_total,
    no_store_calls_total,
    trial_calls_total,
    trial_computed_tokens_total,
    lines_lost_total,
    prompt_tokens_total,
    completion_tokens_total,
    cached_tokens_total,
    duration_ms,
    ttft_ms,
    trial_ttft_ms,

    fn labels(self: Metric) []const Label {
        return switch (self) {
            .calls_total => &(metered ++ [_]Label{ .status, .code, .served, .flags }),
            // Of their own, since as labels of the calls they would make four times as many series.
            .pinned_calls_total => &.{ .pin, .status, .code, .served },
            .no_store_calls_total => &.{ .model, .region, .code, .served },
            .trial_calls_total => &(tried ++ [_]Label{ .answered_by, .status, .code }),
            .lines_lost_total => &.{.region},
            .prompt_tokens_total, .completion_tokens_total, .cached_tokens_total, .duration_ms, .ttft_ms => &metered,
            .trial_computed_tokens_total, .trial_ttft_ms => &tried,
        };
    }

    fn isHistogram(self: Metric) bool {
        return switch (self) {
            .duration_ms, .ttft_ms, .trial_ttft_ms => true,
            else => false,
        };
    }
};

/// The metrics in Envoy.
pub const Home = struct {
    config: *abi_log.Config,
    ids: std.EnumArray(Metric, usize),

    pub fn init(config: *abi_log.Config) !Home {
        var made: Home = .{ .config = config, .ids = undefined };
        for (std.enums.values(Metric)) |metric| {
            var names: [label_count]abi.Buffer = undefined;
            const labels = metric.labels();
            for (labels, names[0..labels.len]) |label, *name| name.* = .of(@tagName(label));
            const define = if (metric.isHistogram()) &abi_log.Config.histogram else &abi_log.Config.counter;
            made.ids.set(metric, define(config, @tagName(metric), names[0..labels.len]) orelse return error.NoMetric);
        }
        return made;
    }

    /// Gives Envoy what was counted, and forgets it.
    pub fn take(self: *const Home, counts: *Counts) void {
        var each = counts.by_labels.iterator();
        while (each.next()) |entry| self.takeOne(entry.key_ptr.*, entry.value_ptr);
    }

    fn takeOne(self: *const Home, key: []const u8, count: *const Count) void {
        var values: std.EnumArray(Label, []const u8) = .initFill("");
        var parts = std.mem.splitScalar(u8, key, separator);
        for (std.enums.values(Label)) |label| values.set(label, parts.next() orelse "");

        self.add(.calls_total, &values, count.calls);
        if (count.lines_lost > 0) self.add(.lines_lost_total, &values, count.lines_lost);
        if (values.get(.pin).len > 0) self.add(.pinned_calls_total, &values, count.calls);
        if (std.mem.eql(u8, values.get(.cache), "no-store")) self.add(.no_store_calls_total, &values, count.calls);
        if (values.get(.trial).len > 0) {
            self.add(.trial_calls_total, &values, count.calls);
            if (count.computed) |tokens| self.add(.trial_computed_tokens_total, &values, tokens);
        }
        if (count.prompt) |tokens| self.add(.prompt_tokens_total, &values, tokens);
        if (count.completion) |tokens| self.add(.completion_tokens_total, &values, tokens);
        if (count.cached) |tokens| self.add(.cached_tokens_total, &values, tokens);
        for (count.durations.items) |value| self.add(.duration_ms, &values, value);
        for (count.ttfts.items) |value| {
            self.add(.ttft_ms, &values, value);
            if (values.get(.trial).len > 0) self.add(.trial_ttft_ms, &values, value);
        }
    }

    fn add(self: *const Home, metric: Metric, values: *const std.EnumArray(Label, []const u8), value: u64) void {
        var given: [label_count]abi.Buffer = undefined;
        const labels = metric.labels();
        for (labels, given[0..labels.len]) |label, *to| to.* = .of(values.get(label));
        const id = self.ids.get(metric);
        if (metric.isHistogram()) self.config.record(id, given[0..labels.len], value) else self.config.add(id, given[0..labels.len], value);
    }
};

/// Of the calls with the same labels. A sum that is null: nobody told any.
pub const Count = struct {
    calls: u64 = 0,
    /// Of these, those whose line nobody will read.
    lines_lost: u64 = 0,
    prompt: ?u64 = null,
    completion: ?u64 = null,
    cached: ?u64 = null,
    /// Of the prompts of streams, those that no cache had before their first token.
    computed: ?u64 = null,
    durations: std.ArrayListUnmanaged(u64) = .{},
    ttfts: std.ArrayListUnmanaged(u64) = .{},
};

// In none of the values: they are names, numbers and words.
const separator = 0;

/// All labels' values as one key, in the order of `Label`; cut where `buffer` ends.
pub fn keyOf(told: *const Facts, buffer: []u8) []const u8 {
    var flags: [128]u8 = undefined;
    var status: [20]u8 = undefined;
    var length: usize = 0;
    for (std.enums.values(Label)) |label| {
        const value: []const u8 = switch (label) {
            .model => told.model orelse "",
            .region => told.region,
            .tenant => told.tenant orelse "",
            .status => text.decimal(&status, told.status),
            .code => told.code_label orelse told.code orelse "",
            .served => told.served orelse "",
            .flags => facts.flagsText(told.flags, &flags),
            .pin => told.pin orelse "",
            .cache => told.cache orelse "",
            .trial => told.trial orelse "",
            .answered_by => told.answered_by orelse "",
        };
        const taken = value[0..@min(value.len, buffer.len - length -| 1)];
        @memcpy(buffer[length..][0..taken.len], taken);
        length += taken.len;
        if (length == buffer.len) break;
        buffer[length] = separator;
        length += 1;
    }
    return buffer[0..length];
}

/// What a worker has counted and Envoy was not given yet.
pub const Counts = struct {
    by_labels: std.StringHashMapUnmanaged(Count) = .{},

    pub fn add(self: *Counts, allocator: std.mem.Allocator, key: []const u8, told: *const Facts, is_lost: bool) !void {
        const found = try self.by_labels.getOrPut(allocator, key);
        if (!found.found_existing) {
            errdefer self.by_labels.removeByPtr(found.key_ptr);
            found.key_ptr.* = try allocator.dupe(u8, key);
            found.value_ptr.* = .{};
        }
        const count = found.value_ptr;
        count.calls += 1;
        count.lines_lost += @intFromBool(is_lost);
        sum(&count.prompt, told.usage.prompt_tokens);
        sum(&count.completion, told.usage.completion_tokens);
        sum(&count.cached, told.usage.cached_tokens);
        if (told.answered) {
            if (told.duration_ms) |value| try count.durations.append(allocator, value);
        }
        if (told.ttft_ms) |value| {
            if (told.usage.prompt_tokens) |tokens| sum(&count.computed, tokens -| (told.usage.cached_tokens orelse 0));
            try count.ttfts.append(allocator, value);
        }
    }

    pub fn deinit(self: *Counts, allocator: std.mem.Allocator) void {
        var each = self.by_labels.iterator();
        while (each.next()) |entry| {
            entry.value_ptr.durations.deinit(allocator);
            entry.value_ptr.ttfts.deinit(allocator);
            allocator.free(entry.key_ptr.*);
        }
        self.by_labels.deinit(allocator);
        self.* = .{};
    }
};

fn sum(into: *?u64, told: ?u64) void {
    if (told) |tokens| into.* = (into.* orelse 0) +| tokens;
}

test "calls with the same labels are added up, and others are not" {
    const allocator = std.testing.allocator;
    var counts: Counts = .{};
    defer counts.deinit(allocator);
    var buffer: [512]u8 = undefined;
    const first: Facts = .{ .region = "eu", .model = "a", .usage = .{ .prompt_tokens = 2 }, .answered = true, .duration_ms = 7 };
    const other: Facts = .{ .region = "eu", .code = "a", .usage = .{ .prompt_tokens = 9, .cached_tokens = 4 }, .ttft_ms = 3 };
    for ([_]*const Facts{ &first, &first, &other }) |told| try counts.add(allocator, keyOf(told, &buffer), told, false);
    try std.testing.expectEqual(2, counts.by_labels.count());
    const count = counts.by_labels.get(keyOf(&first, &buffer)).?;
    try std.testing.expectEqual(2, count.calls);
    try std.testing.expectEqual(4, count.prompt.?);
    try std.testing.expectEqual(null, count.completion);
    try std.testing.expectEqualSlices(u64, &.{ 7, 7 }, count.durations.items);
    try std.testing.expectEqual(null, count.computed);
    const rest = counts.by_labels.get(keyOf(&other, &buffer)).?;
    try std.testing.expectEqualSlices(u64, &.{3}, rest.ttfts.items);
    try std.testing.expectEqual(0, rest.durations.items.len);
    try std.testing.expectEqual(5, rest.computed.?);
}

test "a key that is too long is cut" {
    var buffer: [16]u8 = undefined;
    try std.testing.expect(keyOf(&.{ .region = "eu", .model = "m" ** 99 }, &buffer).len <= buffer.len);
}
