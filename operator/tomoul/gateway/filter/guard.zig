//! What stands between a bug and the gateway: a panic in a hook ends that hook, and nothing else (see guard.c).

const std = @import("std");
const abi = @import("abi.zig");

extern fn tomoul_guarded(work: *const fn (*anyopaque) callconv(.c) void, context: *anyopaque) bool;
extern fn tomoul_leave() noreturn;

/// For the root of the module.
pub const panic = std.debug.FullPanic(leave);

threadlocal var panic_message: [256]u8 = undefined;
threadlocal var panic_length: usize = 0;

fn leave(message: []const u8, _: ?usize) noreturn {
    panic_length = @min(message.len, panic_message.len);
    @memcpy(panic_message[0..panic_length], message[0..panic_length]);
    tomoul_leave();
}

/// The result of `function`, null if it panicked or failed; `name` is for the log.
pub fn guarded(comptime name: []const u8, comptime function: anytype, arguments: std.meta.ArgsTuple(@TypeOf(function))) ?Payload(@TypeOf(function)) {
    const Context = struct {
        arguments: std.meta.ArgsTuple(@TypeOf(function)),
        result: @typeInfo(@TypeOf(function)).@"fn".return_type.? = undefined,

        fn run(pointer: *anyopaque) callconv(.c) void {
            const self: *@This() = @ptrCast(@alignCast(pointer));
            self.result = @call(.auto, function, self.arguments);
        }
    };
    var context: Context = .{ .arguments = arguments };
    if (!tomoul_guarded(Context.run, &context)) {
        report(name, panic_message[0..panic_length]);
        return null;
    }
    return context.result catch |problem| {
        report(name, @errorName(problem));
        return null;
    };
}

fn Payload(comptime Function: type) type {
    return @typeInfo(@typeInfo(Function).@"fn".return_type.?).error_union.payload;
}

fn report(name: []const u8, message: []const u8) void {
    var buffer: [512]u8 = undefined;
    abi.log(.err, std.fmt.bufPrint(&buffer, "tomoul: bug in {s}: {s}", .{ name, message }) catch name);
}
