//! Bugs that tests can call for, in a build of their own (build.py): the header `x-tomoul-fault` names the hook.

const std = @import("std");
const abi = @import("abi.zig");
const options = @import("options");

pub fn at(stream: *abi.Stream, hook: []const u8) void {
    if (!options.faults) return;
    const asked = stream.header(.request, "x-tomoul-fault") orelse return;
    const short = [1]u8{0};
    if (std.mem.eql(u8, asked, hook)) std.mem.doNotOptimizeAway(short[asked.len]);
}
