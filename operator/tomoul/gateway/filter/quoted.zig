//! Which characters of a JSON text are in strings.

const blocks = @import("blocks.zig");

/// Characters that are looked at together.
pub const chunk = 2 * blocks.width;

/// Where two blocks together have what `find` finds in each.
pub inline fn wide(comptime find: fn ([]const u8) callconv(.@"inline") blocks.Bits, text: *const [chunk]u8) u64 {
    return @as(u64, find(text[blocks.width..])) << blocks.width | find(text);
}

/// What of a text is in strings, chunk by chunk: simdjson's way (Langdale and Lemire, "Parsing gigabytes of JSON per second").
pub const Strings = struct {
    /// Whether the last chunk ended in a string: all bits, or none.
    is_open: u64 = 0,
    /// Whether it ended in a backslash that escapes the next character.
    is_escaped: u64 = 0,

    /// What of the chunk is in strings, their opening quotes included, and the backslashes that are in none.
    pub fn next(self: *Strings, text: *const [chunk]u8) struct { u64, u64 } {
        const backslashes = wide(blocks.backslashes, text);
        var quotes = wide(blocks.quotes, text);
        if (backslashes | self.is_escaped != 0) quotes &= ~self.escaped(backslashes);
        var inside = quotes;
        inline for (.{ 1, 2, 4, 8, 16, 32 }) |distance| inside ^= inside << distance;
        inside ^= self.is_open;
        self.is_open = 0 -% (inside >> 63);
        return .{ inside, backslashes & ~inside };
    }

    /// What is behind an odd number of backslashes, of which every second one escapes what is next to it.
    fn escaped(self: *Strings, backslashes: u64) u64 {
        const even: u64 = 0x5555_5555_5555_5555;
        const escapes = backslashes & ~self.is_escaped;
        const behind = escapes << 1 | self.is_escaped;
        // A sequence that starts at an odd place carries into the place behind it.
        const carried, const beyond = @addWithOverflow(escapes & ~even & ~behind, escapes);
        self.is_escaped = beyond;
        return (even ^ carried << 1) & behind;
    }
};
