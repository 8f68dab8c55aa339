//! The request's side: a call is answered here, or leaves with the cluster and the route that it is to take.

const std = @import("std");
const abi = @import("abi.zig");
const affinity = @import("affinity.zig");
const bodies = @import("body.zig");
const errors = @import("errors.zig");
const json = @import("json.zig");
const outputs = @import("outputs.zig");
const rewrite = @import("rewrite.zig");
const salts = @import("salt.zig");
const seeds = @import("seed.zig");
const tenants = @import("tenants.zig");
const text = @import("text.zig");
const calls = @import("call.zig");
const Call = calls.Call;
const documents = @import("document.zig");
const Model = documents.Model;
const Tenant = tenants.Tenant;
const Refused = errors.Refused;
const refuse = errors.refuse;

const chat_path = "/v1/chat/completions";
const models_path = "/v1/models";
const max_name = 256;

threadlocal var scratch: bodies.Scratch = .{};
/// The members of the body at hand. A worker's, since to make 12 KB anew for every call is more work than to read it.
threadlocal var top: json.Members = .{};

/// The headers are there. True if the call may go on, false if its body is to be read first.
pub fn headers(call: *Call, end_of_stream: bool) Refused!bool {
    const stream = call.stream;
    const whole = stream.header(.request, ":path") orelse "";
    const path = whole[0 .. std.mem.indexOfAny(u8, whole, "?#") orelse whole.len];
    const is_chat = std.mem.eql(u8, path, chat_path);
    const is_list = std.mem.eql(u8, path, models_path);
    if (!is_chat and !is_list and !std.mem.startsWith(u8, path, models_path ++ "/"))
        return refuse(call, 404, "not_found", .{}, "There is nothing at `{s}`", .{text.shown(path).slice()});
    call.path = if (is_chat) .chat else .models;
    const allowed = if (is_chat) "POST" else "GET";
    if (!std.mem.eql(u8, stream.header(.request, ":method") orelse "", allowed))
        return refuse(call, 405, "method_not_allowed", .{ .allow = allowed }, "Only {s} is allowed here", .{allowed});

    const tenant = try authenticated(call);
    call.tenant = tenant;
    if (try pinnedRegion(call)) |region| {
        call.pin = region.name;
        const own = call.document.source.region;
        if (!tenant.mayReach(region.name))
            return refuse(call, 403, "region_not_permitted", .{ .param = "X-Tomoul-Region" }, "The API key may not be used in the region `{s}`", .{region.name});
        if (!std.mem.eql(u8, region.name, own)) {
            const cluster = region.cluster orelse
                return errors.forCapacity(call, "The region `{s}` cannot be reached from here", .{region.name});
            call.elsewhere = true;
            sendTo(call, cluster, null);
            return true;
        }
    } else if (is_chat and tenant.entry.require_region) {
        return refuse(call, 400, "region_required", .{ .param = "X-Tomoul-Region" }, "The API key is only for calls that name a region in `X-Tomoul-Region`", .{});
    }
    if (!is_chat) return showModels(call, if (is_list) null else path[models_path.len + 1 ..]);

    call.cache = if (try wantsNoStore(call)) "no-store" else "default";
    try checkBodyHeaders(call);
    try admit(call, tenant);
    call.reads_body = true;
    if (!end_of_stream) return false;
    try body(call, .received_request);
    return true;
}

/// Part of the body has arrived.
pub fn bodyPart(call: *Call) Refused!void {
    const size = call.stream.bodySize(.buffered_request) + call.stream.bodySize(.received_request);
    if (size > call.document.source.max_body_bytes) return refuseLargeBody(call);
}

/// All of the body has arrived; what replaces it goes into `place`.
pub fn body(call: *Call, place: abi.Body) Refused!void {
    call.reads_body = false;
    const stream = call.stream;
    defer scratch.clear();
    const allocator = std.heap.c_allocator;
    try bodies.gather(stream, .buffered_request, &scratch.bytes, allocator);
    try bodies.gather(stream, .received_request, &scratch.bytes, allocator);
    const sent = scratch.bytes.items;
    if (sent.len > call.document.source.max_body_bytes) return refuseLargeBody(call);

    const members = &top;
    if (!members.read(sent))
        return refuse(call, 400, "invalid_json", .{}, "The body is not valid: {s}", .{try errors.problem(call.allocator(), members.problem)});
    if (!std.unicode.utf8ValidateSlice(sent))
        return refuse(call, 400, "invalid_json", .{}, "The body is not valid: it is not UTF-8", .{});
    try checkTypes(call, members);

    const inner = members.get("model").?.inner(sent);
    const model = find(call, inner) orelse return refuseUnknownModel(call, inner);
    const tenant = call.tenant.?;
    // The same words: what a tenant may not call is not there for it.
    if (!tenant.mayCall(model.id)) return refuseUnknownModel(call, inner);
    call.model = model;
    if (model.require_region and call.pin == null) {
        return refuse(call, 400, "region_required", .{
            .param = "X-Tomoul-Region",
            .more = try availableRegions(call, model),
        }, "The model `{s}` answers only calls that name a region in `X-Tomoul-Region`", .{model.id});
    }
    var salt_buffer: [salts.length]u8 = undefined;
    const targets, const salt = try targetsAndSalt(call, model, &salt_buffer);
    try checkCapabilities(call, sent, members, model);
    const max_tokens = try outputs.limited(call, sent, members, tenant.limits.max_output_tokens);
    const seed = try seeds.chosen(call, sent, members, model);

    call.is_stream = if (members.get("stream")) |member| std.mem.eql(u8, member.raw(sent), "true") else false;
    const options = if (call.is_stream) try rewrite.meteredOptions(call, sent, members, model) else null;
    if (model.affinity) {
        const hash = affinity.hash(tenant.entry.name, sent, members);
        if (!stream.setFilterState("envoy.hashable_string", &hash)) @panic("Envoy takes no hash");
    }
    try rewrite.apply(call, place, sent, members, model, .{ .salt = salt, .stream_options = options, .max_tokens = max_tokens, .seed = seed });
    stream.removeHeader(.request, "accept-encoding"); // answers are rewritten as they pass
    switch (targets) {
        .any => |each| take(call, pick(each), model),
        .permitted => |pool| try sendToPermitted(call, model, pool),
    }
}

/// Whose call it is. Without authentication everybody is one tenant, the document's first.
fn authenticated(call: *Call) Refused!*const Tenant {
    const document = call.document;
    if (document.source.auth == .None) return &document.tenants[0];
    const options: errors.Options = .{ .authenticate = true };
    const count = call.stream.headerCount(.request, "authorization");
    if (count == 0)
        return refuse(call, 401, "invalid_api_key", options, "An API key is needed, as `Authorization: Bearer KEY`", .{});
    const header = call.stream.header(.request, "authorization") orelse "";
    const key = tenants.bearer(header);
    if (count > 1 or key == null)
        return refuse(call, 401, "invalid_api_key", options, "The API key must be sent once, as `Authorization: Bearer KEY`", .{});
    return document.keys.owner(key.?) orelse
        refuse(call, 401, "invalid_api_key", options, "The API key is not valid", .{});
}

/// Counts the call among its tenant's, unless that has used what it may.
fn admit(call: *Call, tenant: *const Tenant) Refused!void {
    if (!tenant.limits.counts()) return;
    const refusal = tenant.usage.begin(calls.monotonic(), tenant.limits) orelse {
        call.is_running = true;
        return;
    };
    const seconds: u8 = @intFromFloat(@ceil(@min(60, @max(1, refusal.seconds orelse 1))));
    const most = tenant.entry.limits;
    const limit, const kind, const what = switch (refusal.kind) {
        .requests => .{ most.requests_per_minute.?, "requests", "requests per minute" },
        .tokens => .{ most.tokens_per_minute.?, "tokens", "tokens per minute" },
        .concurrency => .{ most.concurrent_requests.?, "requests", "requests at the same time" },
    };
    return refuse(call, 429, "rate_limit_exceeded", .{ .kind = kind, .wait = seconds }, "The limit of {d} {s} is reached", .{ limit, what });
}

/// Sends a call that names no region, and whose tenant may not reach all that could answer, to the first that it may
/// reach and that can take it. Envoy knows no such choice, so that none is made again if that one fails.
fn sendToPermitted(call: *Call, model: *const Model, pool: []const documents.Target) Refused!void {
    const tenant, const document = .{ call.tenant.?, call.document };
    const here = pool.len > 0 and !document.source.draining and tenant.mayReach(document.source.region);
    const target: documents.Target = if (here) pick(pool) else .{ .cluster = "" };
    if (here) {
        routeTo(call, target.cluster, model.route);
        if (call.stream.hasHost()) return take(call, target, model);
    }
    for (model.fallback) |name| {
        const cluster = if (document.regions.get(name)) |region| region.cluster orelse continue else continue;
        if (tenant.mayReach(name)) return sendTo(call, cluster, model.route);
    }
    if (here) return take(call, target, model); // Envoy answers that nothing is ready
    return refuse(call, 403, "region_not_permitted", .{
        .param = "X-Tomoul-Region",
        .more = try availableRegions(call, model),
    }, "The API key may not be used in the regions that would answer; name one that it may be used in", .{});
}

fn take(call: *Call, target: documents.Target, model: *const Model) void {
    call.trial = target.trial;
    sendTo(call, target.cluster, model.route);
}

fn sendTo(call: *Call, cluster: []const u8, route: ?[]const u8) void {
    // A key is for gateways. Where an aggregate may pick either, the stamp on the host takes it away (listeners.py).
    if (std.mem.startsWith(u8, cluster, "pool/")) call.stream.removeHeader(.request, "authorization");
    routeTo(call, cluster, route);
}

fn routeTo(call: *Call, cluster: []const u8, route: ?[]const u8) void {
    if (route) |key| call.stream.setHeader(.request, "x-tomoul-route", key);
    call.stream.setHeader(.request, "x-tomoul-cluster", cluster);
    call.stream.clearRouteCache();
}

/// The region that the call names. A header that HTTP/1.1's `Connection` removed is not there for anybody.
fn pinnedRegion(call: *Call) Refused!?*const documents.Region {
    const count = call.stream.headerCount(.request, "x-tomoul-region");
    if (count == 0) return null;
    const param: errors.Options = .{ .param = "X-Tomoul-Region" };
    if (count > 1)
        return refuse(call, 400, "invalid_region", param, "`X-Tomoul-Region` is there more than once; name one region, or none", .{});
    const code = call.stream.header(.request, "x-tomoul-region") orelse "";
    const shown = text.shown(code);
    if (!isRegionCode(code))
        return refuse(call, 400, "invalid_region", param, "`X-Tomoul-Region: {s}` is not a region code; codes are lower case, such as `eu-west`", .{shown.slice()});
    const own = call.document.source.region;
    // Forwarded once more, it could go round for ever.
    if (!std.mem.eql(u8, code, own) and call.stream.headerCount(.request, "x-tomoul-forwarded") > 0)
        return errors.forCapacity(call, "The endpoint of the region `{s}` leads to the region `{s}`", .{ shown.slice(), own });
    return call.document.regions.get(code) orelse
        refuse(call, 400, "unknown_region", param, "The region `{s}` does not exist", .{shown.slice()});
}

fn isRegionCode(code: []const u8) bool {
    for (code, 0..) |c, index| {
        if (!std.ascii.isLower(c) and !std.ascii.isDigit(c) and (c != '-' or index == 0)) return false;
    }
    return code.len > 0;
}

fn wantsNoStore(call: *Call) Refused!bool {
    const count = call.stream.headerCount(.request, "x-tomoul-cache");
    if (count == 0) return false;
    const param: errors.Options = .{ .param = "X-Tomoul-Cache" };
    if (count > 1)
        return refuse(call, 400, "invalid_cache_directive", param, "`X-Tomoul-Cache` is there more than once", .{});
    const directive = call.stream.header(.request, "x-tomoul-cache") orelse "";
    if (!std.mem.eql(u8, directive, "no-store"))
        return refuse(call, 400, "invalid_cache_directive", param, "`X-Tomoul-Cache: {s}` is unknown; the only directive is `no-store`", .{text.shown(directive).slice()});
    return true;
}

fn refuseLargeBody(call: *Call) Refused {
    return refuse(call, 413, "request_too_large", .{}, "The request body is too large", .{});
}

fn checkBodyHeaders(call: *Call) Refused!void {
    const media = call.stream.header(.request, "content-type") orelse "";
    const media_type = media[0 .. std.mem.indexOfAny(u8, media, "; \t") orelse media.len];
    if (!std.ascii.eqlIgnoreCase(media_type, "application/json"))
        return refuse(call, 415, "unsupported_media_type", .{ .param = "Content-Type" }, "The body must be sent as `application/json`", .{});
    const encoding = call.stream.header(.request, "content-encoding") orelse "identity";
    if (!std.ascii.eqlIgnoreCase(encoding, "identity"))
        return refuse(call, 415, "unsupported_media_type", .{ .param = "Content-Encoding" }, "The body must not be compressed", .{});
    const length = call.stream.header(.request, "content-length") orelse return;
    const bytes = std.fmt.parseInt(u64, length, 10) catch return refuseLargeBody(call);
    if (bytes > call.document.source.max_body_bytes) return refuseLargeBody(call);
}

const expected = [_]struct { name: []const u8, kind: json.Kind, required: bool, article: []const u8 }{
    .{ .name = "model", .kind = .string, .required = true, .article = "a string" },
    .{ .name = "messages", .kind = .array, .required = true, .article = "an array" },
    .{ .name = "stream", .kind = .boolean, .required = false, .article = "a boolean" },
    .{ .name = "stream_options", .kind = .object, .required = false, .article = "an object" },
};

fn checkTypes(call: *Call, members: *const json.Members) Refused!void {
    for (expected) |field| {
        const member = members.get(field.name) orelse {
            if (!field.required) continue;
            return refuse(call, 400, "missing_required_parameter", .{ .param = field.name }, "`{s}` is required", .{field.name});
        };
        if (member.kind == field.kind or (member.kind == .null and !field.required)) continue;
        return refuse(call, 400, "invalid_type", .{ .param = field.name }, "`{s}` must be {s}", .{ field.name, field.article });
    }
}

fn refuseCapability(call: *Call, model: *const Model, param: []const u8, what: []const u8) Refused {
    return refuse(call, 400, "unsupported_parameter", .{ .param = param }, "The model `{s}` does not support {s}", .{ model.id, what });
}

/// Engines drop silently what they cannot do, so what a model does not advertise is refused here.
fn checkCapabilities(call: *Call, sent: []const u8, members: *const json.Members, model: *const Model) Refused!void {
    if (!model.tools) {
        for ([_][]const u8{ "tools", "tool_choice", "functions", "function_call" }) |name| {
            const member = members.get(name) orelse continue;
            if (member.kind != .null) return refuseCapability(call, model, name, "tools");
        }
    }
    const format = members.get("response_format") orelse return;
    if (format.kind == .null) return;
    const param: errors.Options = .{ .param = "response_format" };
    const raw = format.raw(sent);
    var inner: json.Members = .{};
    if (!inner.read(raw))
        return refuse(call, 400, "invalid_json", param, "`response_format` is not valid: {s}", .{try errors.problem(call.allocator(), inner.problem)});
    var buffer: [max_name]u8 = undefined;
    const kind = if (inner.of("type", .string)) |member| json.plain(member.inner(raw), &buffer) orelse "" else "";
    if (std.mem.eql(u8, kind, "text")) return;
    if (std.mem.eql(u8, kind, "json_schema")) {
        if (model.structured_output) return;
        return refuseCapability(call, model, "response_format", "`response_format` of type `json_schema`");
    }
    if (std.mem.eql(u8, kind, "json_object")) {
        if (model.json_mode) return;
        return refuseCapability(call, model, "response_format", "`response_format` of type `json_object`");
    }
    return refuse(call, 400, "invalid_value", param, "`response_format.type` must be `text`, `json_object` or `json_schema`", .{});
}

/// The model whose id or alias is in `inner`, the inside of a JSON string.
fn find(call: *Call, inner: []const u8) ?*const Model {
    var buffer: [max_name]u8 = undefined;
    return call.document.models.get(json.plain(inner, &buffer) orelse return null);
}

fn refuseUnknownModel(call: *Call, name: []const u8) Refused {
    return refuse(call, 404, "model_not_found", .{ .param = "model" }, "The model `{s}` does not exist", .{text.shown(name).slice()});
}

fn availableRegions(call: *Call, model: *const Model) ![]const u8 {
    var listed: text.Text = .{};
    try listed.appendSlice(call.allocator(), ",\"available_regions\":");
    _ = try documents.appendRegions(&listed, call.allocator(), model, call.tenant);
    return listed.items;
}

/// Where a call may go: to any of the clusters, or to what its tenant may reach of the region's own pool and the model's
/// fallback regions.
const Targets = union(enum) { any: []const documents.Target, permitted: []const documents.Target };

/// Where the call may go and the salt to send, by the model's policy.
fn targetsAndSalt(call: *Call, model: *const Model, buffer: *[salts.length]u8) Refused!struct { Targets, ?[]const u8 } {
    const pinned = call.pin != null;
    const no_store = std.mem.eql(u8, call.cache.?, "no-store");
    var targets = if (pinned) model.clusters.pinned else model.clusters.unpinned;
    var salt: ?[]const u8 = if (model.salt) |owner| switch (owner) {
        .tenant => call.tenant.?.salts.salt(model.id, buffer),
        .shared => call.document.shared_salts.salt(model.id, buffer),
    } else null;
    if (no_store) switch (model.no_store) {
        .as_is => {},
        .refuse => return refuse(call, 400, "cache_policy_unsatisfiable", .{ .param = "X-Tomoul-Cache" }, "The model `{s}` does not offer `no-store`", .{model.id}),
        .salt => salt = salts.random(buffer),
        .pool => {
            targets = if (pinned) model.clusters.no_store_pinned else model.clusters.no_store_unpinned;
            salt = null;
        },
    };
    if (targets.len > 0 and !pinned and !mayReachAll(call, model)) {
        const own_pool = no_store and model.no_store == .pool;
        return .{ .{ .permitted = if (own_pool) model.clusters.no_store_pinned else model.clusters.pinned }, salt };
    }
    if (targets.len > 0) return .{ .{ .any = targets }, salt };
    const region = call.document.source.region;
    if (model.clusters.pinned.len > 0)
        return errors.forCapacity(call, "The region `{s}` takes only calls that name it now", .{region});
    return refuse(call, 404, "model_not_available_in_region", .{
        .param = "model",
        .more = try availableRegions(call, model),
    }, "The model `{s}` is not available in the region `{s}`", .{ model.id, region });
}

/// Whether the call's tenant may reach this region and all fallback regions of the model.
fn mayReachAll(call: *Call, model: *const Model) bool {
    const tenant = call.tenant.?;
    if (tenant.regions == null) return true;
    for (model.fallback) |region| {
        if (!tenant.mayReach(region)) return false;
    }
    return tenant.mayReach(call.document.source.region);
}

/// One of the targets, each as often as its weight says.
fn pick(targets: []const documents.Target) documents.Target {
    if (targets.len == 1) return targets[0];
    var total: u64 = 0;
    for (targets) |target| total += target.weight;
    var left = if (total == 0) 0 else std.crypto.random.uintLessThan(u64, total);
    for (targets) |target| {
        if (left < target.weight) return target;
        left -= target.weight;
    }
    return targets[0];
}

/// Answers `GET /v1/models`, or with an escaped `name` that of one model.
fn showModels(call: *Call, name: ?[]const u8) Refused!bool {
    const allocator, const document = .{ call.allocator(), call.document };
    const tenant: ?*const Tenant = if (call.tenant.?.isFree()) null else call.tenant;
    const shown = if (name) |escaped| one: {
        const unescaped = std.Uri.percentDecodeInPlace(try allocator.dupe(u8, escaped));
        const model = document.models.get(unescaped) orelse return refuseUnknownModel(call, unescaped);
        var made: text.Text = .{};
        if (!try documents.appendCard(&made, allocator, model, tenant)) return refuseUnknownModel(call, unescaped);
        break :one made.items;
    } else if (tenant == null) document.list else try document.listed(allocator, tenant);
    call.local = true;
    call.stream.respond(200, &.{
        .of("content-type", "application/json"),
        .of("x-tomoul-region", call.document.source.region),
    }, shown, "tomoul");
    return error.Refused;
}
