//! Documents as they are read.

const std = @import("std");
const limits = @import("limits.zig");
const tenants = @import("tenants.zig");
const Document = @import("document.zig").Document;
const Tenant = tenants.Tenant;

const example =
    \\{"region":"eu","max_body_bytes":9,"max_held_bytes":9,"auth":"None","shared_salt_key":"azE=","longest_timeouts":{"request_seconds":9,"idle_seconds":9},
    \\ "tenants":[{"name":"anonymous","salt_key":"azI="}],
    \\ "regions":[{"name":"eu"},{"name":"us","cluster":"region/us"}],
    \\ "models":[{"id":"a","aliases":["b","c"],"card":"{\"id\":1}","fingerprint":"f","timeouts":{"request_seconds":9,"idle_seconds":9},"regions":["eu","us"],
    \\            "clusters":{"pinned":[{"clusters":["x"]}]}},
    \\           {"id":"c","card":"{}","fingerprint":"f","timeouts":{"request_seconds":9,"idle_seconds":9},"salt":"tenant","no_store":"as_is","regions":["us"]}]}
;

test "models are found by id and alias, and an id goes before an alias" {
    var where: usize = 0;
    const document = try Document.read(std.testing.allocator, example, &where);
    defer document.destroy();
    try std.testing.expectEqualStrings("a", document.models.get("b").?.id);
    try std.testing.expectEqualStrings("c", document.models.get("c").?.id);
    try std.testing.expectEqual(null, document.models.get("d"));
    try std.testing.expectEqualStrings("region/us", document.regions.get("us").?.cluster.?);
    const listed = "{\"object\":\"list\",\"data\":[{\"id\":1,\"regions\":[\"eu\",\"us\"]},{\"regions\":[\"us\"]}]}";
    try std.testing.expectEqualStrings(listed, document.list);
}

test "a tenant is shown the models and regions that it may reach" {
    var where: usize = 0;
    const document = try Document.read(std.testing.allocator, example, &where);
    defer document.destroy();
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const entry: tenants.Entry = .{ .name = "a/b", .salt_key = "", .regions = &.{"eu"} };
    var tenant: Tenant = try .init(arena.allocator(), &limits.registry, &entry, 1);
    defer tenant.release(&limits.registry);
    const listed = try document.listed(arena.allocator(), &tenant);
    try std.testing.expectEqualStrings("{\"object\":\"list\",\"data\":[{\"id\":1,\"regions\":[\"eu\"]}]}", listed);
}

test "a document that is refused holds no tenant's usage" {
    var where: usize = 0;
    const before = limits.registry.by_name.count();
    const twice = "{\"region\":\"eu\",\"max_body_bytes\":9,\"max_held_bytes\":9,\"auth\":\"Required\",\"shared_salt_key\":\"\",\"longest_timeouts\":{\"request_seconds\":9,\"idle_seconds\":9},\"regions\":[],\"models\":[]," ++
        "\"tenants\":[{\"name\":\"a/b\",\"salt_key\":\"\"},{\"name\":\"a/c\",\"salt_key\":\"\",\"keys\":[\"no hash\"]}]}";
    try std.testing.expectError(error.NotASha256, Document.read(std.testing.allocator, twice, &where));
    try std.testing.expectEqual(before, limits.registry.by_name.count());
}

test "an unknown field is refused where it stands" {
    var where: usize = 0;
    const read = Document.read(std.testing.allocator, "{\"region\":\"eu\",\"regoin\":1}", &where);
    try std.testing.expectError(error.UnknownField, read);
    try std.testing.expectEqual(23, where);
}
