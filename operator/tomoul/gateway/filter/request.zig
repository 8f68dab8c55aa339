//! The request's side: a call is answered here, or leaves with the cluster and the route that it is to take.

const std = @import("std");
const abi = @import("abi.zig");
const admission = @import("admission.zig");
const affinity = @import("affinity.zig");
const bodies = @import("body.zig");
const Asked = @import("asked.zig").Asked;
const capabilities = @import("capabilities.zig");
const catalogue = @import("catalogue.zig");
const cluster_specifier = @import("cluster_specifier.zig");
const errors = @import("errors.zig");
const json = @import("json.zig");
const outputs = @import("outputs.zig");
const pin = @import("pin.zig");
const rewrite = @import("rewrite.zig");
const salts = @import("salt.zig");
const seeds = @import("seed.zig");
const targets = @import("targets.zig");
const text = @import("text.zig");
const Call = @import("call.zig").Call;
const Refused = errors.Refused;
const refuse = errors.refuse;

const chat_path = "/v1/chat/completions";
const models_path = "/v1/models";
/// More than `rewrite.apply` adds to a body: a salt, options, an id in the place of an alias.
const room_for_own: usize = 4096;

threadlocal var scratch: bodies.Scratch = .{};
/// The members of the body at hand. A worker's, since to make 12 KB anew for every call is more work than to read it.
threadlocal var top: json.Members = .{};

/// The headers are there. True if the call may go on, false if its body is to be read first.
pub fn headers(call: *Call, end_of_stream: bool) Refused!bool {
    const asked: Asked = try .read(call.stream, call.allocator());
    const whole = asked.path.first;
    call.was_forwarded = asked.forwarded.count > 0;
    call.takes_encoded = asked.accept_encoding.count > 0;
    call.takes_part = asked.range.count > 0;
    // Envoy would turn whatever is answered here, be it by itself, into a 200 without a body.
    if (std.mem.startsWith(u8, asked.content_type.first, "application/grpc"))
        return refuse(call, 415, "unsupported_media_type", .{
            .param = "Content-Type",
            .to_grpc = if (std.mem.eql(u8, asked.method.first, "HEAD")) .head_only else .whole,
        }, "The body must be sent as `application/json`", .{});
    const path = whole[0 .. std.mem.indexOfAny(u8, whole, "?#") orelse whole.len];
    const is_chat = std.mem.eql(u8, path, chat_path);
    const is_list = std.mem.eql(u8, path, models_path);
    if (!is_chat and !is_list and !std.mem.startsWith(u8, path, models_path ++ "/"))
        return refuse(call, 404, "not_found", .{}, "There is nothing at `{s}`; what there is: `" ++ chat_path ++ "`, `" ++ models_path ++ "` and `" ++ models_path ++ "/{{id}}`", .{text.shown(path).slice()});
    call.path = if (is_chat) .chat else .models;
    call.has_query = path.len < whole.len;
    const allowed = call.path.method();
    if (!std.mem.eql(u8, asked.method.first, allowed))
        return refuse(call, 405, "method_not_allowed", .{ .allow = allowed }, "Only {s} is allowed here", .{allowed});

    const tenant = try admission.authenticated(call, &asked);
    call.tenant = tenant;
    if (try pin.named(call, &asked)) |region| {
        call.pin = region.name;
        const own = call.document.source.region;
        if (!tenant.mayReach(region.name))
            return refuse(call, 403, "region_not_permitted", .{
                .param = "X-Tomoul-Region",
                .more = try catalogue.existingRegions(call),
            }, "The API key may not be used in the region `{s}`", .{region.name});
        if (!std.mem.eql(u8, region.name, own)) {
            const cluster = region.cluster orelse
                return errors.forCapacity(call, "The region `{s}` cannot be reached from here", .{region.name});
            call.elsewhere = true;
            try targets.sendTo(call, cluster);
            return true;
        }
        call.is_fallback = std.mem.endsWith(u8, asked.forwarded.first, cluster_specifier.fallback_mark);
    } else if (is_chat and tenant.entry.require_region) {
        return refuse(call, 400, "region_required", .{ .param = "X-Tomoul-Region" }, "The API key is only for calls that name a region in `X-Tomoul-Region`", .{});
    }
    if (!is_chat) return catalogue.show(call, if (is_list) null else path[models_path.len + 1 ..]);

    call.cache = if (try wantsNoStore(call, &asked)) "no-store" else "default";
    try checkBodyHeaders(call, &asked);
    try admission.admit(call, tenant);
    call.reads_body = true;
    if (!end_of_stream) return false;
    try body(call, .received_request);
    return true;
}

/// Part of the body has arrived.
pub fn bodyPart(call: *Call) Refused!void {
    const size = call.stream.bodySize(.buffered_request) + call.stream.bodySize(.received_request);
    if (size > maxBody(call)) return refuseLargeBody(call);
}

/// All of the body has arrived; what replaces it goes into `place`.
pub fn body(call: *Call, place: abi.Body) Refused!void {
    call.reads_body = false;
    const stream = call.stream;
    defer scratch.clear();
    const whole = try bodies.whole(stream, .buffered_request, .received_request, &scratch);
    const sent = whole.bytes;
    if (sent.len > maxBody(call)) return refuseLargeBody(call);

    const members = &top;
    if (!members.read(sent))
        return refuse(call, 400, "invalid_json", .{}, "The body is not valid: {s}", .{try errors.problem(call.allocator(), members.problem)});
    if (!text.isUtf8(sent))
        return refuse(call, 400, "invalid_json", .{}, "The body is not valid: it is not UTF-8", .{});
    try checkTypes(call, sent, members);

    const inner = members.get("model").?.inner(sent);
    const model = catalogue.find(call, inner) orelse return catalogue.refuseUnknown(call, inner);
    const tenant = call.tenant.?;
    // The same words: what a tenant may not call is not there for it.
    if (!tenant.mayCall(model.id)) return catalogue.refuseUnknown(call, inner);
    call.model = model;
    if (model.require_region and call.pin == null) {
        return refuse(call, 400, "region_required", .{
            .param = "X-Tomoul-Region",
            .more = try catalogue.availableRegions(call, model.regions),
        }, "The model `{s}` answers only calls that name a region in `X-Tomoul-Region`", .{model.id});
    }
    var salt_buffer: [salts.length]u8 = undefined;
    call.is_stream = if (members.get("stream")) |member| std.mem.eql(u8, member.raw(sent), "true") else false;
    const where, const salt = try targets.of(call, model, &salt_buffer);
    try capabilities.check(call, sent, members, model);
    const max_tokens = try outputs.limited(call, sent, members, tenant.limits.max_output_tokens);
    const seed = try seeds.chosen(call, sent, members, model);

    const options = try rewrite.meteredOptions(call, sent, members, model);
    if (model.affinity) {
        const hash = affinity.hash(tenant.entry.name, sent, members);
        if (!stream.setFilterState("envoy.hashable_string", &hash)) @panic("Envoy takes no hash");
    }
    try rewrite.apply(call, place, whole, members, model, .{ .salt = salt, .stream_options = options, .max_tokens = max_tokens, .seed = seed });
    if (call.takes_encoded) stream.removeHeader(.request, "accept-encoding"); // answers are rewritten as they pass
    if (call.takes_part) stream.removeHeader(.request, "range"); // llama.cpp makes an answer, and then a 416 of it
    if (call.has_query) stream.setHeader(.request, ":path", chat_path); // no engine knows one, and some break at a long one
    try targets.send(call, where, model);
}

fn wantsNoStore(call: *Call, asked: *const Asked) Refused!bool {
    const count = asked.cache.count;
    if (count == 0) return false;
    const param: errors.Options = .{ .param = "X-Tomoul-Cache" };
    if (count > 1)
        return refuse(call, 400, "invalid_cache_directive", param, "`X-Tomoul-Cache` is there more than once", .{});
    const directive = asked.cache.first;
    if (!std.mem.eql(u8, directive, "no-store"))
        return refuse(call, 400, "invalid_cache_directive", param, "`X-Tomoul-Cache: {s}` is unknown; the only directive is `no-store`", .{text.shown(directive).slice()});
    return true;
}

/// The most bytes of a body. One that falls back here has what the other region's gateway has put into it besides.
fn maxBody(call: *const Call) usize {
    return call.document.source.max_body_bytes + if (call.is_fallback) room_for_own else 0;
}

fn refuseLargeBody(call: *Call) Refused {
    return refuse(call, 413, "request_too_large", .{}, "The request body is too large", .{});
}

fn checkBodyHeaders(call: *Call, asked: *const Asked) Refused!void {
    const media = asked.content_type.first;
    const media_type = media[0 .. std.mem.indexOfAny(u8, media, "; \t") orelse media.len];
    // A comma parts the values of a header that is there more than once.
    const is_list = std.mem.indexOfScalar(u8, media[media_type.len..], ',') != null;
    if (is_list or !std.ascii.eqlIgnoreCase(media_type, "application/json"))
        return refuse(call, 415, "unsupported_media_type", .{ .param = "Content-Type" }, "The body must be sent as `application/json`", .{});
    const encoding = if (asked.content_encoding.count > 0) asked.content_encoding.first else "identity";
    if (!std.ascii.eqlIgnoreCase(encoding, "identity"))
        return refuse(call, 415, "unsupported_media_type", .{ .param = "Content-Encoding" }, "The body must not be compressed", .{});
    if (asked.content_length.count == 0) return;
    const bytes = std.fmt.parseInt(u64, asked.content_length.first, 10) catch return refuseLargeBody(call);
    if (bytes > maxBody(call)) return refuseLargeBody(call);
}

const expected = [_]struct { name: []const u8, kind: json.Kind, required: bool, article: []const u8 }{
    .{ .name = "model", .kind = .string, .required = true, .article = "a string" },
    .{ .name = "messages", .kind = .array, .required = true, .article = "an array" },
    .{ .name = "stream", .kind = .boolean, .required = false, .article = "a boolean" },
    .{ .name = "stream_options", .kind = .object, .required = false, .article = "an object" },
    // Engines disagree about these: some answer 500.
    .{ .name = "tools", .kind = .array, .required = false, .article = "an array" },
    .{ .name = "response_format", .kind = .object, .required = false, .article = "an object" },
};

fn checkTypes(call: *Call, sent: []const u8, members: *const json.Members) Refused!void {
    for (expected) |field| {
        const member = members.get(field.name) orelse {
            if (!field.required) continue;
            return refuse(call, 400, "missing_required_parameter", .{ .param = field.name }, "`{s}` is required", .{field.name});
        };
        if (member.kind == field.kind or (member.kind == .null and !field.required)) continue;
        return refuse(call, 400, "invalid_type", .{ .param = field.name }, "`{s}` must be {s}", .{ field.name, field.article });
    }
    if (json.isEmptyArray(members.get("messages").?.raw(sent)))
        return refuse(call, 400, "invalid_value", .{ .param = "messages" }, "`messages` must hold at least one message", .{});
}
