//! The one reader of JSON: the members of an object and where their values end, and no deeper than asked.
//!
//! It is strict where the gateway decides by what it reads: names may be there once and hold no escapes, a literal is one
//! of JSON's, brackets match, and nothing follows. What is inside of nested values and strings is for the engine to judge.

const std = @import("std");
const scan = @import("reader.zig");
pub const Reader = scan.Reader;

pub const Kind = scan.Kind;
pub const Problem = scan.Problem;

pub const max_members = 256;

/// One member of an object; positions are in the text that it was read from, ends are exclusive.
pub const Member = struct {
    name: []const u8,
    /// Where the name's opening quote is.
    key: usize,
    start: usize,
    end: usize,
    kind: Kind,

    pub fn raw(self: Member, text: []const u8) []const u8 {
        return text[self.start..self.end];
    }

    /// What a string holds between its quotes, escapes as they are.
    pub fn inner(self: Member, text: []const u8) []const u8 {
        return text[self.start + 1 .. self.end - 1];
    }
};

/// The members of one object, in order.
pub const Members = struct {
    list: [max_members]Member = undefined,
    count: usize = 0,
    problem: Problem = .{},

    pub fn items(self: *const Members) []const Member {
        return self.list[0..self.count];
    }

    pub fn get(self: *const Members, name: []const u8) ?*const Member {
        for (self.items()) |*member| {
            if (std.mem.eql(u8, member.name, name)) return member;
        }
        return null;
    }

    /// The member of that name if it is of that kind.
    pub fn of(self: *const Members, name: []const u8, kind: Kind) ?*const Member {
        const member = self.get(name) orelse return null;
        return if (member.kind == kind) member else null;
    }

    /// Reads the object that is all of `text`; false, with `problem`, where that is no object, or one that two readers
    /// could understand differently.
    pub fn read(self: *Members, text: []const u8) bool {
        var reader: Reader = .{ .text = text, .problem = &self.problem };
        self.readAll(&reader) catch return false;
        return true;
    }

    fn readAll(self: *Members, reader: *Reader) error{Malformed}!void {
        try self.readNext(reader);
        if (reader.peek() != null) return reader.refuse("something follows the object", null, "");
    }

    /// Reads the object that is next, behind which the reader is then. Positions are in the reader's text.
    pub fn readNext(self: *Members, reader: *Reader) error{Malformed}!void {
        self.count = 0;
        if (reader.peek() != '{') return reader.refuse("it is not a JSON object", null, "");
        reader.at += 1;
        var signs: u64 = 0; // of all names so far
        if (reader.peek() == '}') {
            reader.at += 1;
        } else while (true) {
            if (reader.peek() != '"') return reader.refuse("a member's name is missing", null, "");
            const key = reader.at;
            const has_escapes = try reader.skipString();
            const name = reader.text[key + 1 .. reader.at - 1];
            if (has_escapes) return reader.refuse("a member's name has an escape in it", null, "");
            const sign = signOf(name);
            if (signs & sign != 0 and self.get(name) != null) return reader.refuse("the member ", name, " is there twice");
            if (self.count == max_members) return reader.refuse("it has too many members", null, "");
            if (reader.peek() != ':') return reader.refuse("a colon is missing after ", name, "");
            reader.at += 1;
            _ = reader.peek();
            const start = reader.at;
            const kind = try reader.skipValue();
            self.list[self.count] = .{ .name = name, .key = key, .start = start, .end = reader.at, .kind = kind };
            self.count += 1;
            signs |= sign;
            const next = reader.peek();
            if (next != '}' and next != ',')
                return reader.refuse("a comma is missing after ", name, "");
            reader.at += 1;
            if (next == '}') break;
            _ = reader.peek();
        }
    }
};

/// One bit of 64: names with different ones differ.
fn signOf(name: []const u8) u64 {
    if (name.len == 0) return 1;
    const mixed = name.len *% 11 +% @as(usize, name[0]) *% 5 +% name[name.len - 1];
    return @as(u64, 1) << @truncate(mixed);
}

/// Where the elements of an array are; `text` is the array's, from bracket to bracket, which `Members.read` has checked.
pub const Elements = struct {
    reader: Reader,

    pub fn of(text: []const u8, problem: *Problem) Elements {
        return .{ .reader = .{ .text = text, .at = 1, .problem = problem } };
    }

    pub const Element = struct { start: usize, end: usize, kind: Kind };

    /// The next element; null at the end, and where what follows is no JSON.
    pub fn next(self: *Elements) ?Element {
        const first = self.reader.peek() orelse return null;
        if (first == ']') return null;
        if (first == ',') {
            self.reader.at += 1;
            _ = self.reader.peek();
        }
        const start = self.reader.at;
        const kind = self.reader.skipValue() catch return null;
        return .{ .start = start, .end = self.reader.at, .kind = kind };
    }
};

/// Whether an array, given from bracket to bracket, has no elements.
pub fn isEmptyArray(array: []const u8) bool {
    return std.mem.trim(u8, array[1 .. array.len - 1], " \t\r\n").len == 0;
}

/// A model's name in `inner`, decoded into `buffer`; null where it holds what no model's id can hold.
pub fn plain(inner: []const u8, buffer: []u8) ?[]const u8 {
    var length: usize = 0;
    var at: usize = 0;
    while (at < inner.len) {
        var c = inner[at];
        at += 1;
        if (c == '\\') {
            c = inner[at];
            at += 1;
            if (c == 'u') {
                if (at + 4 > inner.len) return null;
                c = std.fmt.parseInt(u7, inner[at .. at + 4], 16) catch return null;
                at += 4;
            } else if (c != '/' and c != '"' and c != '\\') return null;
        }
        if (c < 32 or c >= 127 or length == buffer.len) return null;
        buffer[length] = c;
        length += 1;
    }
    return buffer[0..length];
}

const testing = std.testing;

fn expectProblem(text: []const u8, before: []const u8) !void {
    var members: Members = .{};
    try testing.expect(!members.read(text));
    try testing.expectEqualStrings(before, members.problem.before);
}

test "members are found with their bytes" {
    var members: Members = .{};
    const text = "\n{ \"a\" : [1, {\"b\":\"]}\\\"\"}],\t\"c\":-1.5e+3 , \"\":null}\r ";
    try testing.expect(members.read(text));
    try testing.expectEqual(3, members.count);
    try testing.expectEqualStrings("[1, {\"b\":\"]}\\\"\"}]", members.get("a").?.raw(text));
    try testing.expectEqual(.number, members.get("c").?.kind);
    try testing.expectEqual(.null, members.get("").?.kind);
    try testing.expectEqual(null, members.get("b"));
}

test "what two readers could understand differently is refused" {
    try expectProblem("", "it is not a JSON object");
    try expectProblem("[]", "it is not a JSON object");
    try expectProblem("\xef\xbb\xbf{}", "it is not a JSON object");
    try expectProblem("{", "a member's name is missing");
    try expectProblem("{\"a\":1,}", "a member's name is missing");
    try expectProblem("{\"a\":1,\"a\":1}", "the member ");
    try expectProblem("{\"\\u0061\":1}", "a member's name has an escape in it");
    try expectProblem("{\"a\" 1}", "a colon is missing after ");
    try expectProblem("{\"a\":1 \"b\":2}", "a comma is missing after ");
    try expectProblem("{\"a\":}", "a value is missing");
    try expectProblem("{\"a\":\"x}", "a string is not closed");
    try expectProblem("{\"a\":\"x\\", "a string is not closed");
    try expectProblem("{\"a\":[}", "an object or array is not closed");
    try expectProblem("{\"a\":[{]}", "an object or array is not closed");
    try expectProblem("{}{}", "something follows the object");
    for ([_][]const u8{ "NaN", "-Infinity", "0x10", "True", "01", "1.", ".5", "1e", "+1", "--1", "-" }) |word| {
        var buffer: [32]u8 = undefined;
        try expectProblem(try std.fmt.bufPrint(&buffer, "{{\"a\":{s}}}", .{word}), "");
    }
}

test "depth and count are bounded" {
    var members: Members = .{};
    try testing.expect(members.read("{\"a\":" ++ "[" ** scan.max_depth ++ "]" ** scan.max_depth ++ "}"));
    try expectProblem("{\"a\":" ++ "[" ** (scan.max_depth + 1) ++ "]" ** (scan.max_depth + 1) ++ "}", "values are nested too deeply");
    var text: std.ArrayListUnmanaged(u8) = .{};
    defer text.deinit(testing.allocator);
    for (0..max_members + 1) |index| try text.print(testing.allocator, "{s}\"{d}\":0", .{ if (index == 0) "{" else ",", index });
    try text.append(testing.allocator, '}');
    try expectProblem(text.items, "it has too many members");
}

test "an array's elements are found" {
    var problem: Problem = .{};
    const text = "[ {\"a\":[1]} , \"x\", 2]";
    var elements: Elements = .of(text, &problem);
    const first = elements.next().?;
    try testing.expectEqualStrings("{\"a\":[1]}", text[first.start..first.end]);
    try testing.expectEqual(.string, elements.next().?.kind);
    try testing.expectEqual(.number, elements.next().?.kind);
    try testing.expectEqual(null, elements.next());
    var none: Elements = .of("[ ]", &problem);
    try testing.expectEqual(null, none.next());
}

test "a model's name is decoded, and what no name can hold is none" {
    var buffer: [16]u8 = undefined;
    try testing.expectEqualStrings("a/b\"", plain("\\u0061\\/b\\\"", &buffer).?);
    for ([_][]const u8{ "\\n", "\\x61", "\\u0000", "\\ud83d", "\\u00", "\x7f", "\xc3\xa9", "x" ** 17 }) |inner| {
        try testing.expectEqual(null, plain(inner, &buffer));
    }
}
