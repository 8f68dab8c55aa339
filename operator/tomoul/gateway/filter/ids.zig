//! Ids of completions: `chatcmpl_` and a ULID.

const std = @import("std");

const prefix = "chatcmpl_";
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

pub const Id = [prefix.len + 26]u8;

/// An id of `milliseconds` since 1970.
pub fn completionId(milliseconds: u64) Id {
    var id: Id = (prefix ++ "0" ** 26).*;
    var time = milliseconds;
    for (0..10) |index| {
        id[prefix.len + 9 - index] = crockford[time & 31];
        time >>= 5;
    }
    var random: [16]u8 = undefined;
    std.crypto.random.bytes(&random);
    for (id[prefix.len + 10 ..], random) |*to, byte| to.* = crockford[byte & 31];
    return id;
}

test "an id sorts by its time" {
    const early, const late = .{ completionId(1_700_000_000_000), completionId(1_700_000_000_001) };
    try std.testing.expect(std.mem.lessThan(u8, &early, &late));
    try std.testing.expectEqualStrings("chatcmpl_01HF7YAT00", early[0..19]);
}
