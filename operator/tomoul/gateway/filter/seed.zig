//! Seeds: whole numbers within what the engine takes for one, and what a client is told of the one that it sent.

const std = @import("std");
const errors = @import("errors.zig");
const json = @import("json.zig");
const Call = @import("call.zig").Call;
const Model = @import("document.zig").Model;

/// What a model's seed is worth. `ignored`: the engine does not look at it.
pub const Support = enum {
    deterministic,
    best_effort,
    ignored,

    /// Value of `x-tomoul-seed`.
    pub fn text(self: Support) []const u8 {
        return switch (self) {
            .deterministic => "deterministic",
            .best_effort => "best-effort",
            .ignored => "ignored",
        };
    }
};

/// All seeds of a client, from -2^63, find their place among the first 2^63 whole numbers.
pub const all: u64 = 1 << 63;

/// The `seed` to send in the place of the client's, null where that is right. What is to be told of it is noted in the call.
pub fn chosen(call: *Call, sent: []const u8, members: *const json.Members, model: *const Model) errors.Refused!?u64 {
    const member = members.get("seed");
    if (member == null or member.?.kind == .null)
        return if (model.random_seed) std.crypto.random.uintLessThan(u64, model.seeds) else null;
    const raw = member.?.raw(sent);
    const asked = if (member.?.kind == .number) std.fmt.parseInt(i64, raw, 10) catch null else null;
    const seed = asked orelse
        return errors.refuse(call, 400, "invalid_type", .{ .param = "seed" }, "`seed` must be a whole number of 64 bits, or null", .{});
    call.seed = model.seed;
    const taken = within(seed, model.seeds);
    // JSON knows `-0`, which is another text.
    return if (seed == taken and raw[0] != '-') null else taken;
}

/// An engine takes some numbers for no seed at all, such as -1: those get the place of another.
fn within(seed: i64, count: u64) u64 {
    return @intCast(@mod(@as(i128, seed), count));
}

test "a seed is one of those that the engine takes" {
    const expect = std.testing.expectEqual;
    const llama: u64 = std.math.maxInt(u32);
    for ([_]i64{ 0, 7, std.math.maxInt(u32) - 1 }) |seed| try expect(@as(u64, @intCast(seed)), within(seed, llama));
    try expect(0, within(std.math.maxInt(u32), llama));
    try expect(llama - 1, within(-1, llama));
    try expect(true, within(std.math.maxInt(i64), llama) < llama);
    try expect(all - 1, within(-1, all));
    try expect(0, within(std.math.minInt(i64), all));
    try expect(std.math.maxInt(i64), within(std.math.maxInt(i64), all));
}
