//! The one reader's steps through a JSON text: over white space, strings, literals and nested values.

const std = @import("std");

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
                try self.skipString();
                return .string;
            },
            '{', '[' => {
                try self.skipNested();
                return if (c == '{') .object else .array;
            },
            else => return self.skipLiteral(),
        }
    }

    /// From a string's opening quote to behind its closing one.
    pub fn skipString(self: *Reader) error{Malformed}!void {
        var at = self.at + 1;
        while (true) {
            at = indexOfQuoteOrEscape(self.text, at) orelse return self.refuse("a string is not closed", null, "");
            if (self.text[at] == '"') {
                self.at = at + 1;
                return;
            }
            at += 2; // a backslash, and what it escapes
        }
    }

    /// From an opening bracket to behind the one that closes it.
    fn skipNested(self: *Reader) error{Malformed}!void {
        var objects: std.StaticBitSet(max_depth) = .initEmpty();
        var depth: usize = 0;
        while (self.at < self.text.len) {
            switch (self.text[self.at]) {
                '"' => {
                    try self.skipString();
                    continue;
                },
                '{', '[' => |c| {
                    if (depth == max_depth) return self.refuse("values are nested too deeply", null, "");
                    objects.setValue(depth, c == '{');
                    depth += 1;
                },
                '}', ']' => |c| {
                    depth -= 1;
                    if (objects.isSet(depth) != (c == '}')) break;
                    if (depth == 0) {
                        self.at += 1;
                        return;
                    }
                },
                else => {},
            }
            self.at += 1;
        }
        return self.refuse("an object or array is not closed", null, "");
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

fn indexOfQuoteOrEscape(text: []const u8, from: usize) ?usize {
    const width = 32;
    const Block = @Vector(width, u8);
    var at = from;
    while (at + width <= text.len) : (at += width) {
        const block: Block = text[at..][0..width].*;
        const quotes = block == @as(Block, @splat('"'));
        const escapes = block == @as(Block, @splat('\\'));
        const found = @as(u32, @bitCast(quotes)) | @as(u32, @bitCast(escapes));
        if (found != 0) return at + @ctz(found);
    }
    while (at < text.len) : (at += 1) {
        if (text[at] == '"' or text[at] == '\\') return at;
    }
    return null;
}
