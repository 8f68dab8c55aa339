//! A tool that a call must use: engines that do not find it among the call's tools let the model answer as it likes.

const std = @import("std");
const errors = @import("errors.zig");
const json = @import("json.zig");
const Call = @import("call.zig").Call;
const Refused = errors.Refused;

threadlocal var outer: json.Members = .{};
threadlocal var inner: json.Members = .{};

/// Refuses a `tool_choice` that demands a tool which the call does not bring.
pub fn check(call: *Call, sent: []const u8, members: *const json.Members) Refused!void {
    const choice = members.get("tool_choice") orelse return;
    if (choice.kind == .null) return;
    const tools: []const u8 = if (members.of("tools", .array)) |member| member.raw(sent) else "[]";
    const has_tools = !json.isEmptyArray(tools);
    if (choice.kind == .string) {
        if (!has_tools and std.mem.eql(u8, choice.inner(sent), "required"))
            return refuse(call, "invalid_value", "`tool_choice` is `required`, and there are no `tools`", .{});
        return; // what is no word of OpenAI's, engines refuse
    }
    if (choice.kind != .object) return refuse(call, "invalid_type", "`tool_choice` must be a string or an object", .{});
    const name = functionOf(choice.raw(sent)) orelse
        return refuse(call, "invalid_value", "`tool_choice` must name a function: `{{\"type\": \"function\", \"function\": {{\"name\": \"…\"}}}}`", .{});
    if (!has(tools, name)) return refuse(call, "invalid_value", "`tool_choice` names a function that is not among the `tools`", .{});
}

fn refuse(call: *Call, code: []const u8, comptime format: []const u8, arguments: anytype) Refused {
    return errors.refuse(call, 400, code, .{ .param = "tool_choice" }, format, arguments);
}

/// The name, as it is written, in an object of type `function`.
fn functionOf(raw: []const u8) ?[]const u8 {
    if (!outer.read(raw)) return null;
    const kind = outer.of("type", .string) orelse return null;
    if (!std.mem.eql(u8, kind.inner(raw), "function")) return null;
    const function = (outer.of("function", .object) orelse return null).raw(raw);
    if (!inner.read(function)) return null;
    return (inner.of("name", .string) orelse return null).inner(function);
}

/// Whether a tool of that name is among the tools, or one that cannot be told to be another.
fn has(tools: []const u8, name: []const u8) bool {
    var problem: json.Problem = .{};
    var each: json.Elements = .of(tools, &problem);
    while (each.next()) |tool| {
        const found = functionOf(tools[tool.start..tool.end]) orelse continue;
        if (std.mem.eql(u8, found, name)) return true;
        // One name can be written with escapes in many ways.
        if (std.mem.indexOfScalar(u8, found, '\\') != null or std.mem.indexOfScalar(u8, name, '\\') != null) return true;
    }
    return false;
}

test "a tool is found by its name" {
    const tools =
        \\[{"type":"function","function":{"parameters":{"name":"c"},"name":"a"}}, 7, {}, {"type":"function","function":{"name":"b"}}]
    ;
    for ([_][]const u8{ "a", "b" }) |name| try std.testing.expect(has(tools, name));
    for ([_][]const u8{ "c", "", "aa" }) |name| try std.testing.expect(!has(tools, name));
    try std.testing.expect(!has("[ ]", "a"));
    try std.testing.expect(has(tools, "\\u0061"));
}

test "only a function is chosen by name" {
    try std.testing.expectEqualStrings("f", functionOf("{\"function\":{\"name\":\"f\"},\"type\":\"function\"}").?);
    for ([_][]const u8{
        "{}",                                                "{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}",
        "{\"type\":\"function\"}",                           "{\"type\":\"function\",\"function\":{}}",
        "{\"type\":\"function\",\"function\":{\"name\":7}}", "{\"function\":{\"name\":\"f\"}}",
    }) |raw| try std.testing.expectEqual(null, functionOf(raw));
}
