//! What an answer is to say of itself.

const std = @import("std");
const completion = @import("completion.zig");
const ids = @import("ids.zig");
const text = @import("text.zig");
const Call = @import("call.zig").Call;

/// Under a new id.
pub fn of(call: *Call) !completion.Names {
    const model = call.model orelse unreachable; // pools are reached by a model's route only
    const uncached = model.no_store == .pool and std.mem.eql(u8, call.cache orelse "", "no-store");
    const fingerprint = if (uncached) model.no_store_fingerprint orelse model.fingerprint else model.fingerprint;
    return .{
        .id = try newId(call),
        .model = try text.quoted(call.allocator(), model.id),
        .fingerprint = try text.quoted(call.allocator(), fingerprint),
    };
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
