//! Text as JSON and as messages show it.

const std = @import("std");
const blocks = @import("blocks.zig");

pub const Text = std.ArrayListUnmanaged(u8);

const max_shown = 80;

/// Whether it is printable ASCII that JSON has as it is.
pub fn isPlain(text: []const u8) bool {
    // In blocks, of which the last may overlap the one before.
    inline for (.{ 16, 8, 4 }) |width| {
        if (text.len >= width) {
            var at: usize = 0;
            while (at + width < text.len) : (at += width) {
                if (!isPlainBlock(width, text[at..][0..width].*)) return false;
            }
            return isPlainBlock(width, text[text.len - width ..][0..width].*);
        }
    }
    for (text) |c| {
        if (c < 32 or c > 126 or c == '"' or c == '\\') return false;
    }
    return true;
}

fn isPlainBlock(comptime width: usize, block: @Vector(width, u8)) bool {
    const Block = @TypeOf(block);
    const odd = (block -% @as(Block, @splat(32)) > @as(Block, @splat(126 - 32))) |
        (block == @as(Block, @splat('"'))) | (block == @as(Block, @splat('\\')));
    return !@reduce(.Or, odd);
}

/// Where `needle`, of three bytes or more, first is in `haystack`. The standard library makes a table of 2 KB first, which
/// in a line of a stream is most of the work.
pub fn find(haystack: []const u8, needle: []const u8) ?usize {
    const last = needle.len - 2;
    if (haystack.len < needle.len) return null;
    // What is looked at from each place but the last ones, of which there may be too few for a block.
    const places = haystack.len - needle.len + 1;
    var at: usize = 0;
    if (places < blocks.width) return std.mem.indexOfPosLinear(u8, haystack, 0, needle);
    // The last block overlaps the one before.
    while (at < places) : (at += blocks.width) {
        at = @min(at, places - blocks.width);
        // Not its ends, which are quotes where it is a member's name.
        var both = blocks.equal(haystack[at + 1 ..], needle[1]) & blocks.equal(haystack[at + last ..], needle[last]);
        while (both != 0) : (both &= both - 1) {
            const found = at + @ctz(both);
            if (std.mem.eql(u8, haystack[found..][0..needle.len], needle)) return found;
        }
    }
    return null;
}

/// Whether it is UTF-8, which ASCII is seen to be sooner.
pub fn isUtf8(text: []const u8) bool {
    return blocks.isAscii(text) or std.unicode.utf8ValidateSlice(text);
}

/// Appends `text` as a JSON string. Bytes past ASCII are taken to be UTF-8.
pub fn appendQuoted(into: *Text, allocator: std.mem.Allocator, text: []const u8) !void {
    try into.append(allocator, '"');
    var from: usize = 0;
    if (!isPlain(text)) for (text, 0..) |c, at| {
        if (c >= 32 and c != '"' and c != '\\' and c != 127) continue;
        try into.appendSlice(allocator, text[from..at]);
        from = at + 1;
        switch (c) {
            '"' => try into.appendSlice(allocator, "\\\""),
            '\\' => try into.appendSlice(allocator, "\\\\"),
            '\n' => try into.appendSlice(allocator, "\\n"),
            '\r' => try into.appendSlice(allocator, "\\r"),
            '\t' => try into.appendSlice(allocator, "\\t"),
            else => {
                const digits = "0123456789abcdef";
                try into.appendSlice(allocator, &.{ '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15] });
            },
        }
    };
    try into.appendSlice(allocator, text[from..]);
    try into.append(allocator, '"');
}

/// A number in decimal, at the end of `into`: the standard library's formatting takes several times as long.
pub fn decimal(into: *[20]u8, value: u64) []const u8 {
    var at: usize = into.len;
    var left = value;
    while (true) {
        at -= 1;
        into[at] = '0' + @as(u8, @intCast(left % 10));
        left /= 10;
        if (left == 0) return into[at..];
    }
}

pub fn quoted(allocator: std.mem.Allocator, text: []const u8) ![]const u8 {
    var made: Text = .{};
    try made.ensureTotalCapacity(allocator, text.len + 2);
    try appendQuoted(&made, allocator, text);
    return made.items;
}

/// What a client sent, in a message: short, and never bytes that would make the answer anything but JSON.
pub const Shown = struct {
    buffer: [max_shown + 3]u8,
    length: usize,

    pub fn slice(self: *const Shown) []const u8 {
        return self.buffer[0..self.length];
    }
};

pub fn shown(text: []const u8) Shown {
    var made: Shown = .{ .buffer = undefined, .length = @min(text.len, max_shown) };
    for (text[0..made.length], made.buffer[0..made.length]) |c, *to| to.* = if (c >= 32 and c <= 126) c else '?';
    if (text.len > max_shown) {
        @memcpy(made.buffer[max_shown..][0..3], "...");
        made.length += 3;
    }
    return made;
}

/// `["a","b"]`
pub fn list(allocator: std.mem.Allocator, values: []const []const u8) ![]const u8 {
    var made: Text = .{};
    try made.append(allocator, '[');
    for (values, 0..) |value, index| {
        if (index > 0) try made.append(allocator, ',');
        try appendQuoted(&made, allocator, value);
    }
    try made.append(allocator, ']');
    return made.items;
}

test "quoted text is JSON whatever it holds" {
    var bytes: [256]u8 = undefined;
    for (&bytes, 0..) |*to, value| to.* = @intCast(value);
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    const made = try quoted(arena.allocator(), bytes[0..128]);
    const read = try std.json.parseFromSliceLeaky([]const u8, arena.allocator(), made, .{});
    try std.testing.expectEqualStrings(bytes[0..128], read);
}

test "what a client sent is shown short and in ASCII" {
    try std.testing.expectEqualStrings("a?b", shown("a\xffb").slice());
    try std.testing.expectEqual(83, shown("x" ** 500_000).slice().len);
}

test "numbers are written in decimal" {
    var digits: [20]u8 = undefined;
    for ([_]u64{ 0, 7, 10, 1234567890, std.math.maxInt(u64) }) |value| {
        var wanted: [20]u8 = undefined;
        try std.testing.expectEqualStrings(try std.fmt.bufPrint(&wanted, "{d}", .{value}), decimal(&digits, value));
    }
}

test "what is plain is so wherever in it something else stands" {
    for (0..40) |length| {
        var sample: [40]u8 = @splat('a');
        try std.testing.expect(isPlain(sample[0..length]));
        for (0..length) |at| {
            for ([_]u8{ 0, 31, '"', '\\', 127, 128, 255 }) |odd| {
                sample[at] = odd;
                try std.testing.expect(!isPlain(sample[0..length]));
            }
            sample[at] = if (at % 2 == 0) ' ' else '~';
            try std.testing.expect(isPlain(sample[0..length]));
        }
    }
}

test "what is looked for is found wherever it is, and where it is first" {
    const needle = "\"usage\"";
    for (0..120) |length| {
        var haystack: [120]u8 = undefined;
        for (&haystack, 0..) |*c, index| c.* = "\"us"[index % 3];
        try std.testing.expectEqual(null, find(haystack[0..length], needle));
        var at: usize = 0;
        while (at + needle.len <= length) : (at += 1) {
            var sample = haystack;
            @memcpy(sample[at..][0..needle.len], needle);
            if (at + 3 * needle.len <= length) @memcpy(sample[at + 2 * needle.len ..][0..needle.len], needle);
            try std.testing.expectEqual(at, find(sample[0..length], needle));
        }
    }
    try std.testing.expectEqual(1, find("xabc", "abc"));
}

test "what is no ASCII is seen wherever it is, and judged as UTF-8" {
    var sample: [80]u8 = @splat('a');
    for (0..sample.len) |length| {
        try std.testing.expect(isUtf8(sample[0..length]));
        for (0..length) |at| {
            sample[at] = 0x80;
            try std.testing.expect(!isUtf8(sample[0..length]));
            sample[at] = 'a';
        }
    }
    try std.testing.expect(isUtf8("\u{e9}" ** 40));
}
