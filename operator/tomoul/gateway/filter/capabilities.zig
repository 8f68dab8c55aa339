//! What a model can do beyond text, and the fields of a body that ask for it.

const std = @import("std");
const errors = @import("errors.zig");
const json = @import("json.zig");
const toolchoice = @import("toolchoice.zig");
const Call = @import("call.zig").Call;
const Model = @import("document.zig").Model;
const Refused = errors.Refused;
const refuse = errors.refuse;

const longest_type = 16;

fn refuseFor(call: *Call, model: *const Model, param: []const u8, what: []const u8) Refused {
    return refuse(call, 400, "unsupported_parameter", .{ .param = param }, "The model `{s}` does not support {s}", .{ model.id, what });
}

/// Whether `n` is a number that an engine could take for more than 1: llama.cpp cuts off fractions and all but 32 bits, so
/// that some below 0 are. What is no number is the engine's to judge.
fn asksForChoices(sent: []const u8, members: *const json.Members) bool {
    const member = members.of("n", .number) orelse return false;
    const count = std.fmt.parseFloat(f64, member.raw(sent)) catch return true;
    return count < 0 or count >= 2;
}

/// Engines drop silently what they cannot do, so what a model does not advertise is refused here.
pub fn check(call: *Call, sent: []const u8, members: *const json.Members, model: *const Model) Refused!void {
    if (model.tools) try toolchoice.check(call, sent, members) else {
        for ([_][]const u8{ "tools", "tool_choice" }) |name| {
            const member = members.get(name) orelse continue;
            if (member.kind != .null) return refuseFor(call, model, name, "tools");
        }
    }
    // OpenAI's before there were tools. No engine looks at them.
    for (members.items()) |member| {
        if (!std.mem.startsWith(u8, member.name, "function") or member.kind == .null) continue;
        for ([_][]const u8{ "functions", "function_call" }) |name| {
            if (std.mem.eql(u8, member.name, name)) return refuseFor(call, model, name, "`functions`; use `tools`");
        }
    }
    if (model.counts_one_choice and !call.is_stream and asksForChoices(sent, members))
        return refuseFor(call, model, "n", "more than one choice but in a stream (`stream: true`): its engine does not tell the tokens of all");
    const format = members.get("response_format") orelse return;
    if (format.kind == .null) return;
    const param: errors.Options = .{ .param = "response_format" };
    const raw = format.raw(sent);
    var inner: json.Members = .{};
    if (!inner.read(raw))
        return refuse(call, 400, "invalid_json", param, "`response_format` is not valid: {s}", .{try errors.problem(call.allocator(), inner.problem)});
    var buffer: [longest_type]u8 = undefined;
    const kind = if (inner.of("type", .string)) |member| json.plain(member.inner(raw), &buffer) orelse "" else "";
    if (std.mem.eql(u8, kind, "text")) return;
    if (std.mem.eql(u8, kind, "json_schema")) {
        if (model.structured_output) return checkSchema(call, raw, &inner);
        return refuseFor(call, model, "response_format", "`response_format` of type `json_schema`");
    }
    if (std.mem.eql(u8, kind, "json_object")) {
        if (model.json_mode) return;
        return refuseFor(call, model, "response_format", "`response_format` of type `json_object`");
    }
    return refuse(call, 400, "invalid_value", param, "`response_format.type` must be `text`, `json_object` or `json_schema`", .{});
}

/// Engines answer in any form where there is no schema in its place.
fn checkSchema(call: *Call, format: []const u8, members: *const json.Members) Refused!void {
    const named = members.get("json_schema") orelse
        return refuse(call, 400, "missing_required_parameter", .{ .param = "response_format.json_schema" }, "`response_format.json_schema` is required", .{});
    const is_object = named.kind == .object;
    var inner: json.Members = .{};
    const raw = named.raw(format);
    if (is_object and !inner.read(raw))
        return refuse(call, 400, "invalid_json", .{ .param = "response_format.json_schema" }, "`response_format.json_schema` is not valid: {s}", .{try errors.problem(call.allocator(), inner.problem)});
    const schema = if (is_object) inner.get("schema") else null;
    const param = if (is_object) "response_format.json_schema.schema" else "response_format.json_schema";
    if (!is_object or (schema != null and schema.?.kind != .object))
        return refuse(call, 400, "invalid_type", .{ .param = param }, "`{s}` must be an object", .{param});
}
