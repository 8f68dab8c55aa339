//! The document: all that the filter knows of its gateway, of regions, models and tenants. tomoul/gateway/compile/document.py
//! writes it, and Envoy hands it over whenever it changes.

const std = @import("std");
const salt = @import("salt.zig");
const text = @import("text.zig");

/// Which pods a call is meant for while a new revision is tried.
pub const Trial = enum { canary, stable };

pub const Target = struct { cluster: []const u8, weight: u32 = 1, trial: ?Trial = null };

/// Where a model's calls go, by whether they name this region and whether `no-store` has a pool of its own; empty where
/// they can go nowhere.
pub const Clusters = struct {
    pinned: []const Target = &.{},
    unpinned: []const Target = &.{},
    no_store_pinned: []const Target = &.{},
    no_store_unpinned: []const Target = &.{},
};

/// What a call with `X-Tomoul-Cache: no-store` gets: what all get, a random salt, a pool of its own, or a refusal.
pub const NoStore = enum { as_is, salt, pool, refuse };

pub const Model = struct {
    id: []const u8,
    aliases: []const []const u8 = &.{},
    /// What `GET /v1/models/{id}` answers, as JSON.
    card: []const u8,
    regions: []const []const u8 = &.{},
    require_region: bool = false,
    tools: bool = false,
    structured_output: bool = false,
    json_mode: bool = false,
    /// Fields of a body that a client must not control.
    remove_fields: []const []const u8 = &.{},
    /// Member of `stream_options` that makes the engine tell its tokens in every chunk.
    usage_option: ?[]const u8 = null,
    salt_field: ?[]const u8 = null,
    /// Whose salt calls get; null for none.
    salt: ?enum { tenant, shared } = null,
    no_store: NoStore = .as_is,
    /// Whether calls with the same beginning go to one host.
    affinity: bool = false,
    clusters: Clusters = .{},
    /// `system_fingerprint` where the engine tells none.
    fingerprint: []const u8,
    /// Key of the route that holds its timeouts.
    route: []const u8,
};

pub const Region = struct {
    name: []const u8,
    /// Its gateways; null for this region, and for one that cannot be reached.
    cluster: ?[]const u8 = null,
};

pub const Tenant = struct {
    name: []const u8,
    /// Key of its salts, in base64.
    salt_key: []const u8,
};

const Source = struct {
    region: []const u8,
    max_body_bytes: usize,
    regions: []const Region,
    models: []const Model,
    tenants: []const Tenant,
    /// Key of the salts of models whose cache all tenants share, in base64.
    shared_salt_key: []const u8,
};

pub const Document = struct {
    arena: std.heap.ArenaAllocator,
    source: Source,
    models: std.StringHashMapUnmanaged(*const Model),
    regions: std.StringHashMapUnmanaged(*const Region),
    /// What `GET /v1/models` answers.
    list: []const u8,
    /// The tenant of a gateway that asks for no keys.
    anonymous: []const u8,
    tenant_salts: salt.Key,
    shared_salts: salt.Key,

    /// Reads a document; the error says why it is none. `where` is then told the byte at which reading ended.
    pub fn read(allocator: std.mem.Allocator, bytes: []const u8, where: *usize) !*Document {
        const self = try allocator.create(Document);
        errdefer allocator.destroy(self);
        self.arena = .init(allocator);
        errdefer self.arena.deinit();
        const arena = self.arena.allocator();

        var scanner: std.json.Scanner = .initCompleteInput(arena, try arena.dupe(u8, bytes));
        var diagnostics: std.json.Diagnostics = .{};
        scanner.enableDiagnostics(&diagnostics);
        self.source = std.json.parseFromTokenSourceLeaky(Source, arena, &scanner, .{}) catch |problem| {
            where.* = @intCast(diagnostics.getByteOffset());
            return problem;
        };

        const source = &self.source;
        self.models = .{};
        for (source.models) |*model| {
            const entry = try self.models.getOrPut(arena, model.id);
            if (entry.found_existing) return error.ModelThereTwice;
            entry.value_ptr.* = model;
        }
        for (source.models) |*model| {
            for (model.aliases) |alias| {
                const entry = try self.models.getOrPut(arena, alias);
                if (!entry.found_existing) entry.value_ptr.* = model;
            }
        }
        self.regions = .{};
        for (source.regions) |*region| try self.regions.put(arena, region.name, region);
        self.list = try modelList(arena, source.models);
        if (source.tenants.len != 1) return error.NotOneTenant;
        self.anonymous = source.tenants[0].name;
        self.tenant_salts = .init(try decoded(arena, source.tenants[0].salt_key));
        self.shared_salts = .init(try decoded(arena, source.shared_salt_key));
        return self;
    }

    pub fn destroy(self: *Document) void {
        const allocator = self.arena.child_allocator;
        self.arena.deinit();
        allocator.destroy(self);
    }
};

fn decoded(arena: std.mem.Allocator, key: []const u8) ![]const u8 {
    const decoder = std.base64.standard.Decoder;
    const bytes = try arena.alloc(u8, try decoder.calcSizeForSlice(key));
    try decoder.decode(bytes, key);
    return bytes;
}

fn modelList(arena: std.mem.Allocator, models: []const Model) ![]const u8 {
    var made: text.Text = .{};
    try made.appendSlice(arena, "{\"object\":\"list\",\"data\":[");
    for (models, 0..) |model, index| {
        if (index > 0) try made.append(arena, ',');
        try made.appendSlice(arena, model.card);
    }
    try made.appendSlice(arena, "]}");
    return made.items;
}

const example =
    \\{"region":"eu","max_body_bytes":9,"shared_salt_key":"azE=","tenants":[{"name":"anonymous","salt_key":"azI="}],
    \\ "regions":[{"name":"eu"},{"name":"us","cluster":"region/us"}],
    \\ "models":[{"id":"a","aliases":["b","c"],"card":"{}","fingerprint":"f","route":"r","clusters":{"pinned":[{"cluster":"x"}]}},
    \\           {"id":"c","card":"{}","fingerprint":"f","route":"r","salt":"tenant","no_store":"as_is"}]}
;

test "models are found by id and alias, and an id goes before an alias" {
    var where: usize = 0;
    const document = try Document.read(std.testing.allocator, example, &where);
    defer document.destroy();
    try std.testing.expectEqualStrings("a", document.models.get("b").?.id);
    try std.testing.expectEqualStrings("c", document.models.get("c").?.id);
    try std.testing.expectEqual(null, document.models.get("d"));
    try std.testing.expectEqualStrings("region/us", document.regions.get("us").?.cluster.?);
    try std.testing.expectEqualStrings("{\"object\":\"list\",\"data\":[{},{}]}", document.list);
}

test "an unknown field is refused where it stands" {
    var where: usize = 0;
    const read = Document.read(std.testing.allocator, "{\"region\":\"eu\",\"regoin\":1}", &where);
    try std.testing.expectError(error.UnknownField, read);
    try std.testing.expectEqual(23, where);
}
