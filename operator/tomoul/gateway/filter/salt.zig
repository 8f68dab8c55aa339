//! Cache salts: what keeps one tenant's prompt cache from another's.

const std = @import("std");
const Hmac = std.crypto.auth.hmac.Hmac(@import("digest.zig").Sha256);
const base64 = std.base64.url_safe_no_pad.Encoder;

pub const length = base64.calcSize(32);

/// A salt that was made a while ago: the same ones are asked for again and again.
const Made = struct { key: u64 = 0, model: [64]u8 = undefined, model_length: usize = 0, salt: [length]u8 = undefined };

threadlocal var recent: [64]Made = @splat(.{});
var keys: std.atomic.Value(u64) = .init(0);

/// The key of one tenant's salts, or of those that all share.
pub const Key = struct {
    state: Hmac,
    /// That no other key of this process has.
    number: u64,

    pub fn init(key: []const u8) Key {
        return .{ .state = .init(key), .number = keys.fetchAdd(1, .monotonic) + 1 };
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
        const made = &recent[(self.number ^ std.hash.Wyhash.hash(0, model)) % recent.len];
        if (made.key == self.number and std.mem.eql(u8, made.model[0..made.model_length], model)) {
            buffer.* = made.salt;
            return buffer;
        }
        const text = self.make(model, buffer);
        if (model.len <= made.model.len) {
            made.* = .{ .key = self.number, .model_length = model.len, .salt = buffer.* };
            @memcpy(made.model[0..model.len], model);
        }
        return text;
    }

    fn make(self: *const Key, model: []const u8, buffer: *[length]u8) []const u8 {
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

test "a salt that is remembered is the one that was made, whatever was asked for between" {
    const some = [_]Key{ .init("k"), .init("l"), .init("k") };
    var name: [70]u8 = undefined;
    for (0..3) |_| for (1..name.len) |size| for (&some) |*key| {
        const model = name[0..size];
        for (model, 0..) |*c, at| c.* = 'a' + @as(u8, @intCast((at + size) % 7));
        var made: [length]u8 = undefined;
        var remembered: [length]u8 = undefined;
        try std.testing.expectEqualStrings(key.make(model, &made), key.salt(model, &remembered));
    };
}
