//! Tenants: whose a call is, and what it may reach. Keys are known by their hashes only.

const std = @import("std");
const limits = @import("limits.zig");
const salt = @import("salt.zig");
const Sha256 = @import("digest.zig").Sha256;

/// A tenant as the document has it.
pub const Entry = struct {
    /// `namespace/name`, or `anonymous`.
    name: []const u8,
    /// SHA-256 of each of its keys, in hexadecimal.
    keys: []const []const u8 = &.{},
    /// Key of its cache salts, in base64.
    salt_key: []const u8,
    /// Regions and models that it may reach; null for all.
    regions: ?[]const []const u8 = null,
    models: ?[]const []const u8 = null,
    require_region: bool = false,
    limits: limits.Limits = .{},
};

const Names = std.StringHashMapUnmanaged(void);

pub const Tenant = struct {
    entry: *const Entry,
    regions: ?Names,
    models: ?Names,
    salts: salt.Key,
    /// This gateway's part of its limits.
    limits: limits.Limits,
    usage: *limits.Usage,

    /// Reads one entry, for one of `gateways`; `release` gives back its usage. What else it needs is `arena`'s.
    pub fn init(arena: std.mem.Allocator, registry: *limits.Registry, entry: *const Entry, gateways: f64) !Tenant {
        return .{
            .entry = entry,
            .regions = try setOf(arena, entry.regions),
            .models = try setOf(arena, entry.models),
            .salts = try .read(arena, entry.salt_key),
            .limits = entry.limits.share(gateways),
            .usage = try registry.hold(entry.name),
        };
    }

    pub fn release(self: *Tenant, registry: *limits.Registry) void {
        registry.release(self.usage);
    }

    /// Whether it may reach every region and call every model.
    pub fn isFree(self: *const Tenant) bool {
        return self.regions == null and self.models == null;
    }

    pub fn mayReach(self: *const Tenant, region: []const u8) bool {
        return if (self.regions) |names| names.contains(region) else true;
    }

    pub fn mayCall(self: *const Tenant, model: []const u8) bool {
        return if (self.models) |names| names.contains(model) else true;
    }
};

fn setOf(arena: std.mem.Allocator, names: ?[]const []const u8) !?Names {
    var found: Names = .{};
    for (names orelse return null) |name| try found.put(arena, name, {});
    return found;
}

const Digest = [Sha256.digest_length]u8;

// A digest is as good a hash as any; its bytes are an attacker's only by guessing.
const DigestContext = struct {
    pub fn hash(_: DigestContext, digest: Digest) u64 {
        return std.mem.readInt(u64, digest[0..8], .little);
    }

    pub fn eql(_: DigestContext, a: Digest, b: Digest) bool {
        return std.mem.eql(u8, &a, &b);
    }
};

/// Whose keys are whose.
pub const Keys = struct {
    owners: std.HashMapUnmanaged(Digest, *const Tenant, DigestContext, std.hash_map.default_max_load_percentage) = .{},

    /// Of two tenants with one key the first has it.
    pub fn add(self: *Keys, arena: std.mem.Allocator, tenant: *const Tenant) !void {
        for (tenant.entry.keys) |key| {
            if (key.len != 2 * Sha256.digest_length) return error.NotASha256;
            var digest: Digest = undefined;
            _ = std.fmt.hexToBytes(&digest, key) catch return error.NotASha256;
            const found = try self.owners.getOrPut(arena, digest);
            if (!found.found_existing) found.value_ptr.* = tenant;
        }
    }

    pub fn owner(self: *const Keys, key: []const u8) ?*const Tenant {
        var digest: Digest = undefined;
        Sha256.hash(key, &digest, .{});
        return self.owners.get(digest);
    }
};

/// The key in an `Authorization` header; null if it holds none.
pub fn bearer(header: []const u8) ?[]const u8 {
    const scheme = "bearer ";
    if (header.len <= scheme.len or !std.ascii.eqlIgnoreCase(header[0..scheme.len], scheme)) return null;
    const key = std.mem.trim(u8, header[scheme.len..], " ");
    if (key.len == 0) return null;
    for (key) |c| {
        if (c <= ' ' or c > '~') return null;
    }
    return key;
}

const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

fn hexOf(comptime key: []const u8) [64]u8 {
    var digest: Digest = undefined;
    Sha256.hash(key, &digest, .{});
    return std.fmt.bytesToHex(digest, .lower);
}

test "a key is found by its hash, and of two tenants with one key the first has it" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var registry: limits.Registry = .{ .allocator = std.testing.allocator };
    defer registry.by_name.deinit(std.testing.allocator);
    const one, const both = .{ hexOf("one"), hexOf("both") };
    const entries = [_]Entry{
        .{ .name = "a/first", .keys = &.{ &one, &both }, .salt_key = "" },
        .{ .name = "a/second", .keys = &.{&both}, .salt_key = "" },
    };
    var found: [2]Tenant = undefined;
    var keys: Keys = .{};
    for (&entries, &found) |*entry, *tenant| {
        tenant.* = try .init(arena.allocator(), &registry, entry, 1);
        try keys.add(arena.allocator(), tenant);
    }
    try expectEqual(&found[0], keys.owner("one").?);
    try expectEqual(&found[0], keys.owner("both").?);
    try expectEqual(null, keys.owner("neither"));
    try expectEqual(null, keys.owner(&one)); // a hash is no key
    for (&found) |*tenant| tenant.release(&registry);
}

test "what is no SHA-256 is refused" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var registry: limits.Registry = .{ .allocator = std.testing.allocator };
    defer registry.by_name.deinit(std.testing.allocator);
    inline for (.{ "", "ab", "z" ** 64, "a" ** 65 }) |key| {
        const entry: Entry = .{ .name = "a/b", .keys = &.{key}, .salt_key = "" };
        var tenant: Tenant = try .init(arena.allocator(), &registry, &entry, 1);
        var keys: Keys = .{};
        try std.testing.expectError(error.NotASha256, keys.add(arena.allocator(), &tenant));
        tenant.release(&registry);
    }
}

test "no list means all, and an empty one none" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var registry: limits.Registry = .{ .allocator = std.testing.allocator };
    defer registry.by_name.deinit(std.testing.allocator);
    const free: Entry = .{ .name = "a/free", .salt_key = "" };
    const bound: Entry = .{ .name = "a/bound", .salt_key = "", .regions = &.{"eu"}, .models = &.{} };
    var tenant: Tenant = try .init(arena.allocator(), &registry, &free, 1);
    try expect(tenant.mayReach("eu") and tenant.mayCall("m"));
    tenant.release(&registry);
    tenant = try .init(arena.allocator(), &registry, &bound, 1);
    try expect(tenant.mayReach("eu") and !tenant.mayReach("us") and !tenant.mayCall("m"));
    tenant.release(&registry);
}

test "a key is what follows Bearer" {
    try std.testing.expectEqualStrings("k", bearer("Bearer k").?);
    try std.testing.expectEqualStrings("k", bearer("bearer  k ").?);
    inline for (.{ "", "Bearer", "Bearer ", "Bearer   ", "Basic k", "k", "Bearerk", "Bearer a b", "Bearer a\tb", "Bearer \xff" }) |bad| {
        try expectEqual(null, bearer(bad));
    }
}
