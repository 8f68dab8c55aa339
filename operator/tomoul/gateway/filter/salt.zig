//! Cache salts: what keeps one tenant's prompt cache from another's.

const std = @import("std");
const Hmac = std.crypto.auth.hmac.Hmac(@import("digest.zig").Sha256);
const base64 = std.base64.url_safe_no_pad.Encoder;

pub const length = base64.calcSize(32);

/// The key of one tenant's salts, or of those that all share.
pub const Key = struct {
    state: Hmac,

    pub fn init(key: []const u8) Key {
        return .{ .state = .init(key) };
    }

    /// From base64.
    pub fn read(allocator: std.mem.Allocator, key: []const u8) !Key {
        const decoder = std.base64.standard.Decoder;
        const bytes = try allocator.alloc(u8, try decoder.calcSizeForSlice(key));
        defer allocator.free(bytes);
        try decoder.decode(bytes, key);
        return .init(bytes);
    }

    /// base64url(HMAC-SHA256(key, model))
    pub fn salt(self: *const Key, model: []const u8, buffer: *[length]u8) []const u8 {
        var state = self.state;
        state.update(model);
        var digest: [32]u8 = undefined;
        state.final(&digest);
        return base64.encode(buffer, &digest);
    }
};

/// A salt that nobody can guess and that is used once.
pub fn random(buffer: *[length]u8) []const u8 {
    var bytes: [32]u8 = undefined;
    std.crypto.random.bytes(&bytes);
    return base64.encode(buffer, &bytes);
}

test "a salt is the key's, the model's, and base64url" {
    var first: [length]u8 = undefined;
    var second: [length]u8 = undefined;
    const key: Key = .init("k");
    try std.testing.expectEqualStrings(key.salt("acme/chat", &first), key.salt("acme/chat", &second));
    try std.testing.expect(!std.mem.eql(u8, &first, key.salt("acme/code", &second)));
    const other: Key = .init("l");
    try std.testing.expect(!std.mem.eql(u8, &first, other.salt("acme/chat", &second)));
}
