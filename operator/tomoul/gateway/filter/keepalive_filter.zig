//! The second filter of each stream, which does nothing but let comments through. Envoy no longer asks a filter about a
//! stream into which that filter has sent data of its own; so this one sends them, and the other one goes on rewriting.
//!
//! It has no state: its hooks are told a mark in the place of a call. Envoy creates both filters of a stream one right
//! behind the other, and destroys them together.

const abi = @import("abi.zig");
const Call = @import("call.zig").Call;

/// `filter_name` in its configuration.
pub const name = "keepalive";

var mark: Call = undefined;

/// The call of this thread whose keep-alive filter comes next.
threadlocal var expecting: ?*Call = null;

pub fn is(call: *const Call) bool {
    return call == &mark;
}

pub fn expect(call: *Call) void {
    expecting = call;
}

pub fn forget(call: *const Call) void {
    if (expecting == call) expecting = null;
}

/// What stands for the second filter of `stream`.
pub fn create(stream: *abi.Stream) *Call {
    if (expecting) |call| call.commenter = stream;
    expecting = null;
    return &mark;
}
