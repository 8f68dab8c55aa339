//! The filter between the router and the host that it picked, which alone knows what depends on the host: another region's
//! code as the pin, and who may see the client's key. It acts on every try anew, and what one try takes away from the
//! headers the next one does not find; so keys are kept until their calls are over.
//!
//! Here and not in the clusters' configuration, since an aggregate ignores the filters of its members.

const std = @import("std");
const abi = @import("abi.zig");
const Call = @import("call.zig").Call;

/// `filter_name` in its configuration.
pub const name = "stamp";

var mark: Call = undefined;

/// This worker's calls that may go to a gateway after an engine did not take them, by their ids.
threadlocal var kept: std.StringHashMapUnmanaged(*const Call) = .{};

/// It has no state: its hooks are told a mark in the place of a call.
pub fn create() *Call {
    return &mark;
}

pub fn is(call: *const Call) bool {
    return call == &mark;
}

/// Keeps the key of a call that is about to leave.
pub fn keep(call: *Call) !void {
    const key = call.stream.header(.request, "authorization") orelse return;
    const id = call.stream.header(.request, "x-request-id") orelse return;
    call.key = try call.allocator().dupe(u8, key);
    call.request_id = try call.allocator().dupe(u8, id);
    try kept.put(std.heap.c_allocator, call.request_id.?, call);
}

pub fn forget(call: *const Call) void {
    const id = call.request_id orelse return;
    if (kept.get(id) == call) _ = kept.remove(id);
}

/// The headers of one try.
pub fn headers(stream: *abi.Stream) void {
    stream.removeHeader(.request, "x-tomoul-cluster");
    stream.removeHeader(.request, "x-tomoul-route");
    const region = stream.hostMetadata("tomoul", "region") orelse {
        // An engine's host: no engine gets a client's key.
        stream.removeHeader(.request, "authorization");
        stream.removeHeader(.request, "x-tomoul-forwarded");
        return;
    };
    stream.setHeader(.request, "x-tomoul-region", region);
    stream.setHeader(.request, "x-tomoul-forwarded", stream.hostMetadata("tomoul", "sender") orelse "");
    const id = stream.header(.request, "x-request-id") orelse return;
    const call = kept.get(id) orelse return;
    stream.setHeader(.request, "authorization", call.key.?);
}
