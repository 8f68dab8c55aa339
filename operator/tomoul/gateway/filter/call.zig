//! One call: what the request's side leaves for the response's side and for the line that is written of it.

const std = @import("std");
const abi = @import("abi.zig");
const documents = @import("document.zig");
const Held = @import("held.zig").Held;
const limits = @import("limits.zig");
const Tenant = @import("tenants.zig").Tenant;
const Usage = @import("usage.zig").Usage;
const keepalive = @import("keepalive.zig");
const cluster_specifier = @import("cluster_specifier.zig");
const oversizes = @import("oversize.zig");
const Oversize = oversizes.Oversize;
const seeds = @import("seed.zig");
const logger = @import("logger.zig");
const streams = @import("stream.zig");
const keepalive_filter = @import("keepalive_filter.zig");

pub const Path = enum {
    unknown,
    chat,
    models,

    pub fn text(self: Path) ?[]const u8 {
        return switch (self) {
            .unknown => null,
            .chat => "/v1/chat/completions",
            .models => "/v1/models",
        };
    }

    /// The one that is allowed there.
    pub fn method(self: Path) []const u8 {
        return if (self == .chat) "POST" else "GET";
    }
};

/// How what comes back is handled.
pub const Answer = enum { passes, completion, failure, stream, replaced };

/// This worker's calls that are over, whose memory the next ones get.
threadlocal var spare: [64]*Call = undefined;
threadlocal var spare_count: usize = 0;
/// Of each of them.
const spare_bytes = 16 * 1024;

pub const Call = struct {
    stream: *abi.Stream,
    document: *const documents.Document,
    arena: std.heap.ArenaAllocator,
    /// Nanoseconds of a clock that is never set.
    started: u64,

    path: Path = .unknown,
    /// Whose call it is, once that is known.
    tenant: ?*const Tenant = null,
    /// Whether it is among its tenant's running calls.
    is_running: bool = false,
    /// What was left of its tenant's requests, where they are limited and the call was counted.
    allowance: ?limits.Allowance = null,
    /// Whether another region's gateway takes it, and counts it.
    elsewhere: bool = false,
    model: ?*const documents.Model = null,
    pin: ?[]const u8 = null,
    /// Where it may go, in order of preference, and where it is: see cluster_specifier.zig.
    clusters: []const []const u8 = &.{},
    at: usize = 0,
    tries: u8 = 0,
    dress: cluster_specifier.Dress = .client,
    /// Whether the client said that a gateway forwarded it.
    was_forwarded: bool = false,
    /// Whether another region's gateway, for which it fell back to this region, makes the other tries.
    is_fallback: bool = false,
    /// Whether its path has a query.
    has_query: bool = false,
    /// Whether the client asks for a part of the answer.
    takes_part: bool = false,
    /// Whether the client takes compressed answers.
    takes_encoded: bool = false,
    /// What the client called with, and the call's id; where both may be needed again.
    key: ?[]const u8 = null,
    request_id: ?[]const u8 = null,
    cache: ?[]const u8 = null,
    /// Which pods it is meant for; null where no new revision is tried.
    trial: ?documents.Trial = null,
    code: ?[]const u8 = null,
    /// What is counted in its place where it is an engine's own word, of which there could be any number.
    code_label: ?[]const u8 = null,
    usage: Usage = .{},
    ttft_ms: ?u64 = null,
    /// Whether an engine of this region answered.
    served: bool = false,

    /// What the seed that the client sent is worth; null where it sent none.
    seed: ?seeds.Support = null,

    /// Whether the body is still to be read and judged.
    reads_body: bool = false,
    /// Whether this gateway answers, be it this filter or Envoy itself.
    local: bool = false,
    is_stream: bool = false,
    hidden: streams.Hidden = .nothing,
    answer: Answer = .passes,
    status: u16 = 0,
    /// What leaves in the place of a body that is `replaced`.
    replacement: []const u8 = "",
    /// Of an answer that has not left yet.
    held: Held = .{},
    /// Of one that is too large: what is looked through before it goes.
    oversize: ?Oversize = null,
    /// Of an answer that is a stream.
    rewriter: *streams.Rewriter = undefined,
    /// Of a stream whose engine is here.
    watch: keepalive.Watch = .{},
    /// Through which comments leave: see keepalive_filter.zig.
    commenter: ?*abi.Stream = null,
    /// Whether what passes now is of this gateway's own making.
    comments: bool = false,

    /// Hooks that run, since Envoy may end a stream within one.
    running: u8 = 0,
    ended: bool = false,

    pub fn create(document: *const documents.Document, stream: *abi.Stream) !*Call {
        const self = if (spare_count > 0) kept: {
            spare_count -= 1;
            break :kept spare[spare_count];
        } else fresh: {
            const made = try std.heap.c_allocator.create(Call);
            made.arena = .init(std.heap.c_allocator);
            break :fresh made;
        };
        self.* = .{
            .stream = stream,
            .document = document,
            .arena = self.arena,
            .started = monotonic(),
        };
        keepalive_filter.expect(self);
        return self;
    }

    pub fn enter(self: *Call) void {
        self.running += 1;
    }

    pub fn leave(self: *Call) void {
        self.running -= 1;
        if (self.running == 0 and self.ended) self.free();
    }

    /// No hook comes after this one.
    pub fn end(self: *Call) void {
        self.ended = true;
        self.watch.stop();
        self.charge();
        if (self.running == 0) self.free();
    }

    /// What it has used is its tenant's to bear, and room for another call again.
    pub fn charge(self: *Call) void {
        if (!self.is_running) return;
        self.is_running = false;
        // A client that goes away before they are told has had a token with each chunk.
        const put_out = self.usage.completion_tokens orelse if (self.answer == .stream) self.rewriter.chunks else 0;
        const tokens = (self.usage.prompt_tokens orelse 0) +| put_out;
        self.tenant.?.usage.end(monotonic(), self.tenant.?.limits, tokens, self.elsewhere);
    }

    fn free(self: *Call) void {
        keepalive_filter.forget(self);
        logger.forget(self);
        cluster_specifier.forget(self);
        oversizes.forget(self);
        self.held.release();
        if (spare_count < spare.len) {
            _ = self.arena.reset(.{ .retain_with_limit = spare_bytes });
            spare[spare_count] = self;
            spare_count += 1;
            return;
        }
        self.arena.deinit();
        std.heap.c_allocator.destroy(self);
    }

    pub fn allocator(self: *Call) std.mem.Allocator {
        return self.arena.allocator();
    }

    pub fn elapsedMilliseconds(self: *const Call) u64 {
        return (monotonic() - self.started) / std.time.ns_per_ms;
    }
};

pub fn monotonic() u64 {
    const now = std.posix.clock_gettime(.MONOTONIC) catch unreachable;
    return @as(u64, @intCast(now.sec)) * std.time.ns_per_s + @as(u64, @intCast(now.nsec));
}
