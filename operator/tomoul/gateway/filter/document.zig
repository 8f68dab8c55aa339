//! The document: all that the filter knows of its gateway, of regions, models and tenants. tomoul/gateway/compile/document.py
//! writes it, and Envoy hands it over whenever it changes.

const std = @import("std");
const limits = @import("limits.zig");
const salt = @import("salt.zig");
const seeds = @import("seed.zig");
const tenants = @import("tenants.zig");
const text = @import("text.zig");
const Tenant = tenants.Tenant;

/// Which pods a call is meant for while a new revision is tried.
pub const Trial = enum { canary, stable };

/// Clusters to try in order, and how many of a hundred calls begin there.
pub const Target = struct { clusters: []const []const u8, weight: u32 = 1, trial: ?Trial = null };

/// How long to wait for a whole answer, and for its next byte.
pub const Timeouts = struct { request_seconds: u64, idle_seconds: u64 };

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

/// A field, and its value as JSON.
pub const SetField = struct { name: []const u8, value: []const u8 };

pub const Model = struct {
    id: []const u8,
    aliases: []const []const u8 = &.{},
    /// What `GET /v1/models/{id}` answers but for the regions, as JSON.
    card: []const u8,
    regions: []const []const u8 = &.{},
    /// Other regions, in order, for calls that name none; only those that can be reached.
    fallback: []const []const u8 = &.{},
    require_region: bool = false,
    tools: bool = false,
    structured_output: bool = false,
    json_mode: bool = false,
    /// Fields of a body that a client must not control.
    remove_fields: []const []const u8 = &.{},
    /// Fields of a body by which the engine knows which adapter is meant.
    set_fields: []const SetField = &.{},
    /// Member of `stream_options` that makes the engine tell its tokens in every chunk.
    usage_option: ?[]const u8 = null,
    /// Whether the engine tells the tokens of one choice only, where an answer in one piece has several.
    counts_one_choice: bool = false,
    salt_field: ?[]const u8 = null,
    /// Fields that carry the salt too, for pods of other revisions.
    former_salt_fields: []const []const u8 = &.{},
    /// Whose salt calls get; null for none.
    salt: ?enum { tenant, shared } = null,
    no_store: NoStore = .as_is,
    /// Whether calls with the same beginning go to one host.
    affinity: bool = false,
    clusters: Clusters = .{},
    /// What `seed` is worth.
    seed: seeds.Support = .best_effort,
    /// How many seeds the engine knows, from 0.
    seeds: u64 = seeds.all,
    /// Whether a call without a seed gets a random one, since the engine would give all of them the same.
    random_seed: bool = false,
    /// `system_fingerprint` of its answers.
    fingerprint: []const u8,
    /// The same of those by the pool for `no-store` calls, where that is another.
    no_store_fingerprint: ?[]const u8 = null,
    timeouts: Timeouts,
};

pub const Region = struct {
    name: []const u8,
    /// Its gateways; null for this region, and for one that cannot be reached.
    cluster: ?[]const u8 = null,
};

/// Whether calls need a key.
pub const Auth = enum { None, Required };

const Source = struct {
    region: []const u8,
    max_body_bytes: usize,
    /// Most that answers take while they arrive, all together.
    max_held_bytes: usize,
    /// After how long an engine's silence the client of a stream gets a comment; 0 for never.
    comment_seconds: u64 = 0,
    /// Of calls for other regions, whose gateways keep their models' timeouts themselves.
    longest_timeouts: Timeouts,
    auth: Auth,
    /// Whether only calls that name this region are served in it.
    draining: bool = false,
    /// How many gateways share the tenants' limits.
    gateways: f64 = 1,
    regions: []const Region,
    models: []const Model,
    /// With `None` the one whose every caller is.
    tenants: []const tenants.Entry,
    /// Key of the salts of models whose cache all tenants share, in base64.
    shared_salt_key: []const u8,
};

pub const Document = struct {
    arena: std.heap.ArenaAllocator,
    source: Source,
    models: std.StringHashMapUnmanaged(*const Model),
    regions: std.StringHashMapUnmanaged(*const Region),
    /// What `GET /v1/models` answers who may reach everything.
    list: []const u8,
    tenants: []Tenant,
    keys: tenants.Keys,
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
        self.shared_salts = try .read(arena, source.shared_salt_key);
        if (source.auth == .None and source.tenants.len != 1) return error.NotOneTenant;
        self.tenants = try arena.alloc(Tenant, source.tenants.len);
        self.keys = .{};
        var held: usize = 0;
        errdefer for (self.tenants[0..held]) |*tenant| tenant.release(&limits.registry);
        for (source.tenants, self.tenants) |*entry, *tenant| {
            tenant.* = try .init(arena, &limits.registry, entry, source.gateways);
            held += 1;
            try self.keys.add(arena, tenant);
        }
        self.list = try self.listed(arena, null);
        return self;
    }

    /// What `GET /v1/models` answers a tenant, or who may reach everything.
    pub fn listed(self: *const Document, allocator: std.mem.Allocator, tenant: ?*const Tenant) ![]const u8 {
        var made: text.Text = .{};
        try made.appendSlice(allocator, "{\"object\":\"list\",\"data\":[");
        const opened = made.items.len;
        for (self.source.models) |*model| {
            const before = made.items.len;
            if (before > opened) try made.append(allocator, ',');
            if (!try appendCard(&made, allocator, model, tenant)) made.shrinkRetainingCapacity(before);
        }
        try made.appendSlice(allocator, "]}");
        return made.items;
    }

    pub fn destroy(self: *Document) void {
        const allocator = self.arena.child_allocator;
        for (self.tenants) |*tenant| tenant.release(&limits.registry);
        self.arena.deinit();
        allocator.destroy(self);
    }
};

/// Appends what `GET /v1/models/{id}` answers a tenant; false if for it the model is not there.
pub fn appendCard(into: *text.Text, allocator: std.mem.Allocator, model: *const Model, tenant: ?*const Tenant) !bool {
    if (tenant) |whose| {
        if (!whose.mayCall(model.id)) return false;
    }
    try into.appendSlice(allocator, model.card[0 .. model.card.len - 1]);
    try into.appendSlice(allocator, if (model.card.len > 2) ",\"regions\":" else "\"regions\":");
    const any = try appendRegions(into, allocator, model.regions, tenant);
    try into.append(allocator, '}');
    return any;
}

/// Appends those of some regions that a tenant may reach, as JSON; false if there are none.
pub fn appendRegions(into: *text.Text, allocator: std.mem.Allocator, regions: []const []const u8, tenant: ?*const Tenant) !bool {
    try into.append(allocator, '[');
    const opened = into.items.len;
    for (regions) |region| {
        if (tenant) |whose| {
            if (!whose.mayReach(region)) continue;
        }
        if (into.items.len > opened) try into.append(allocator, ',');
        try text.appendQuoted(into, allocator, region);
    }
    const any = into.items.len > opened;
    try into.append(allocator, ']');
    return any;
}
