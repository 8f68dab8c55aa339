//! The one reader's steps through a JSON text: over white space, strings, literals and nested values.

const std = @import("std");
const blocks = @import("blocks.zig");
const quoted = @import("quoted.zig");
const Bits = blocks.Bits;
const chunk = quoted.chunk;

pub const max_depth = 256;

pub const Kind = enum { string, number, boolean, null, object, array };

/// Why a text is refused: `before`, perhaps the `subject` that it is about in backticks, `after`.
pub const Problem = struct {
    before: []const u8 = "",
    subject: ?[]const u8 = null,
    after: []const u8 = "",
};

pub const Reader = struct {
    text: []const u8,
    at: usize = 0,
    problem: *Problem,

    pub fn refuse(self: *Reader, before: []const u8, subject: ?[]const u8, after: []const u8) error{Malformed} {
        self.problem.* = .{ .before = before, .subject = subject, .after = after };
        return error.Malformed;
    }

    /// The next character that is no white space, at which the reader is then; null at the end.
    pub fn peek(self: *Reader) ?u8 {
        while (self.at < self.text.len) : (self.at += 1) {
            switch (self.text[self.at]) {
                ' ', '\t', '\r', '\n' => {},
                else => |c| return c,
            }
        }
        return null;
    }

    pub fn skipValue(self: *Reader) error{Malformed}!Kind {
        const c = if (self.at < self.text.len) self.text[self.at] else return self.refuse("a value is missing", null, "");
        switch (c) {
            '"' => {
                _ = try self.skipString();
                return .string;
            },
            '{', '[' => {
                try self.skipNested();
                return if (c == '{') .object else .array;
            },
            else => return self.skipLiteral(),
        }
    }

    /// From a string's opening quote to behind its closing one; whether it has escapes.
    pub fn skipString(self: *Reader) error{Malformed}!bool {
        const text = self.text;
        var at = self.at + 1;
        var has_escapes = false;
        each: while (at + blocks.width <= text.len) : (at += blocks.width) {
            var found = blocks.either(text[at..], '"', '\\');
            while (found != 0) {
                const bit: std.math.Log2Int(Bits) = @intCast(@ctz(found));
                if (text[at + bit] == '"') {
                    self.at = at + bit + 1;
                    return has_escapes;
                }
                has_escapes = true;
                if (bit == blocks.width - 1) {
                    at += 1; // what it escapes is the next block's first
                    continue :each;
                }
                found &= ~(@as(Bits, 3) << bit); // a backslash, and what it escapes
            }
        }
        while (at < text.len) : (at += 1) {
            if (text[at] == '"') {
                self.at = at + 1;
                return has_escapes;
            }
            if (text[at] != '\\') continue;
            has_escapes = true;
            at += 1;
        }
        return self.refuse("a string is not closed", null, "");
    }

    /// From an opening bracket to behind the one that closes it.
    fn skipNested(self: *Reader) error{Malformed}!void {
        const text = self.text;
        var objects: std.StaticBitSet(max_depth) = .initEmpty();
        var depth: usize = 0;
        var strings: quoted.Strings = .{};
        var rest: [chunk]u8 = undefined;
        var start = self.at;
        while (start < text.len) : (start += chunk) {
            const characters = if (text.len - start >= chunk) text[start..][0..chunk] else short: {
                @memset(&rest, ' ');
                @memcpy(rest[0 .. text.len - start], text[start..]);
                break :short &rest;
            };
            const in_strings, const stray = strings.next(characters);
            var brackets = quoted.wide(blocks.brackets, characters) & ~in_strings;
            while (brackets != 0) : (brackets &= brackets - 1) {
                const bit: u6 = @intCast(@ctz(brackets));
                switch (characters[bit]) {
                    '{', '[' => |c| {
                        if (depth == max_depth) return self.refuse("values are nested too deeply", null, "");
                        objects.setValue(depth, c == '{');
                        depth += 1;
                    },
                    else => |c| {
                        depth -= 1;
                        if (objects.isSet(depth) != (c == '}')) return self.refuse("an object or array is not closed", null, "");
                        if (depth > 0) continue;
                        if (stray << (63 - bit) != 0) break;
                        self.at = start + bit + 1;
                        return;
                    },
                }
            }
            if (stray != 0) return self.refuse("a backslash is outside of strings", null, "");
        }
        return self.refuse(if (strings.is_open != 0) "a string is not closed" else "an object or array is not closed", null, "");
    }

    fn skipLiteral(self: *Reader) error{Malformed}!Kind {
        const start = self.at;
        while (self.at < self.text.len) : (self.at += 1) {
            switch (self.text[self.at]) {
                'a'...'z', 'A'...'Z', '0'...'9', '.', '+', '-' => {},
                else => break,
            }
        }
        const word = self.text[start..self.at];
        if (word.len == 0) return self.refuse("a value is missing", null, "");
        if (std.mem.eql(u8, word, "true") or std.mem.eql(u8, word, "false")) return .boolean;
        if (std.mem.eql(u8, word, "null")) return .null;
        if (isNumber(word)) return .number;
        return self.refuse("", word, " is not a JSON value");
    }
};

fn digits(text: []const u8) usize {
    for (text, 0..) |c, index| {
        if (c < '0' or c > '9') return index;
    }
    return text.len;
}

fn isNumber(word: []const u8) bool {
    var rest = word;
    if (rest[0] == '-') rest = rest[1..];
    const whole = digits(rest);
    if (whole == 0 or (whole > 1 and rest[0] == '0')) return false;
    rest = rest[whole..];
    if (rest.len > 0 and rest[0] == '.') {
        const fraction = digits(rest[1..]);
        if (fraction == 0) return false;
        rest = rest[1 + fraction ..];
    }
    if (rest.len > 0 and (rest[0] == 'e' or rest[0] == 'E')) {
        rest = rest[1..];
        if (rest.len > 0 and (rest[0] == '+' or rest[0] == '-')) rest = rest[1..];
        const exponent = digits(rest);
        if (exponent == 0) return false;
        rest = rest[exponent..];
    }
    return rest.len == 0;
}

/// Behind the value that `text` begins with, found character by character; null where it does not end, or is none.
fn plainEnd(text: []const u8) ?usize {
    var opened: [64]u8 = undefined;
    var depth: usize = 0;
    var is_string = false;
    var at: usize = 0;
    while (at < text.len) : (at += 1) {
        switch (text[at]) {
            '"' => is_string = !is_string,
            '\\' => if (is_string) {
                at += 1;
            } else return null,
            '{', '[' => |c| if (!is_string) {
                opened[depth] = c + 2; // what closes it
                depth += 1;
            },
            '}', ']' => |c| if (!is_string) {
                depth -= 1;
                if (opened[depth] != c) return null;
            },
            else => {},
        }
        if (depth == 0) return at + 1;
    }
    return null;
}

test "nested values end where they do character by character, wherever blocks end" {
    var random: std.Random.DefaultPrng = .init(6);
    const characters = "[]{}\"\"\\\\a :,";
    for (0..20_000) |_| {
        var text: [150]u8 = undefined;
        // Mostly what is in strings, so that many go on for several blocks.
        const is_prose = random.random().boolean();
        for (&text) |*c| {
            const any = random.random().uintLessThan(usize, if (is_prose) 120 else characters.len);
            c.* = if (any < characters.len) characters[any] else 'a';
        }
        text[0] = "[{"[random.random().uintLessThan(usize, 2)];
        for (text[64..]) |*c| if (!is_prose and (c.* == '[' or c.* == '{')) {
            c.* = ' '; // no deeper than `plainEnd` goes
        };
        const length = 1 + random.random().uintLessThan(usize, text.len);
        var problem: Problem = .{};
        var reader: Reader = .{ .text = text[0..length], .problem = &problem };
        const end = if (reader.skipValue()) |_| reader.at else |_| null;
        try std.testing.expectEqual(plainEnd(text[0..length]), end);
    }
}
