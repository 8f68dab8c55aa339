//! The filter's reader of JSON for Python (test_json.py).

const json = @import("json");

/// How many members the object `text` has, -1 if it is refused; `into` gets three positions of each: of the name's quote,
/// of the value and of its end.
export fn members_of(text: [*]const u8, length: usize, into: *[3 * json.max_members]usize) isize {
    var members: json.Members = .{};
    if (!members.read(text[0..length])) return -1;
    for (members.items(), 0..) |member, index| {
        into[3 * index ..][0..3].* = .{ member.key, member.start, member.end };
    }
    return @intCast(members.count);
}
