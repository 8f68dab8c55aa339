//! The completion's id, the model's and the fingerprint in each chunk of a stream. Chunks are alike but for what they bring:
//! what is to change in them is found once, by reading one as JSON, and then looked for where it was.

const std = @import("std");
const completion = @import("completion.zig");
const json = @import("json.zig");
const swaps = @import("swap.zig");
const text = @import("text.zig");
const Shared = swaps.Shared;
const Swap = swaps.Swap;
const Text = text.Text;

pub const ChunkNames = struct {
    names: completion.Names,
    swaps: std.EnumArray(Shared, Swap) = .initFill(.{}),
    /// How the choices begin in each chunk; it stays.
    choices: Swap = .{},
    /// What the engine does not tell, and stands beside the id.
    untold: std.EnumSet(Shared) = .{},

    /// Appends a line that is like those before; false, and nothing is appended, if it is not.
    pub fn swapAll(self: *ChunkNames, whole: []const u8, out: *Text, to: std.mem.Allocator) !bool {
        if (self.swaps.getPtr(.id).own_length == 0 or !self.looksWhole(whole)) return false;
        // What an engine does not tell stands beside the id, unless it tells it after all.
        var untold = self.untold.iterator();
        while (untold.next()) |which| {
            if (text.find(whole, which.key()) != null) return false;
        }
        var found: [std.enums.values(Shared).len]*Swap = undefined;
        var count: usize = 0;
        for (&self.swaps.values) |*swap| {
            if (swap.own_length == 0) continue;
            // Inside a string of the answer the quotes would be escaped, so this finds the member and nothing else.
            const at = swap.find(whole) orelse return false;
            var place = count;
            while (place > 0 and found[place - 1].at > at) : (place -= 1) found[place] = found[place - 1];
            found[place] = swap;
            count += 1;
        }
        for (found[1..count], found[0 .. count - 1]) |swap, before| {
            if (swap.at < before.at + before.own_length) return false;
        }
        var from: usize = 0;
        for (found[0..count]) |swap| {
            try out.appendSlice(to, whole[from..swap.at]);
            try out.appendSlice(to, swap.replacement.items);
            from = swap.at + swap.own_length;
        }
        try out.appendSlice(to, whole[from..]);
        return true;
    }

    /// Whether a line has choices and an end, as a chunk that is like those before.
    fn looksWhole(self: *ChunkNames, whole: []const u8) bool {
        const end = whole.len - @min(whole.len, if (std.mem.endsWith(u8, whole, "\r\n")) @as(usize, 3) else 2);
        return whole[end] == '}' and self.choices.find(whole) != null;
    }

    /// Appends a line by its members, of which `choices` is one; the chunk begins at `start`. `allocator` is an arena's, for
    /// what is kept.
    pub fn learn(
        self: *ChunkNames,
        allocator: std.mem.Allocator,
        members: *const json.Members,
        choices: *const json.Member,
        whole: []const u8,
        start: usize,
        out: *Text,
        to: std.mem.Allocator,
    ) !void {
        const names, const chunk = .{ self.names, whole[start..] };
        const opening = chunk[choices.key .. choices.start + 1];
        self.choices = .{ .own_length = @min(opening.len, swaps.max_own), .at = start + choices.key };
        @memcpy(self.choices.own[0..self.choices.own_length], opening[0..self.choices.own_length]);
        for (std.enums.values(Shared)) |which| self.untold.setPresent(which, members.get(@tagName(which)) == null);
        // Each in the place of a member of the engine's; where there is no id, before all.
        var beside: Text = .{};
        defer beside.deinit(to);
        var untold = self.untold.iterator();
        while (untold.next()) |which| {
            for ([_][]const u8{ ",", which.key(), ":", which.of(names) }) |piece| try beside.appendSlice(to, piece);
            self.swaps.getPtr(which).own_length = 0;
        }
        var from: usize = members.list[0].key;
        try out.appendSlice(to, whole[0 .. start + from]);
        if (self.untold.contains(.id)) {
            try out.appendSlice(to, beside.items[1..]);
            try out.append(to, ',');
        }
        for (members.items()) |*member| {
            const which = std.meta.stringToEnum(Shared, member.name) orelse continue;
            const name = which.of(names);
            if (which == .model and std.mem.eql(u8, member.raw(chunk), name)) continue;
            const replacement = [_][]const u8{ chunk[member.key..member.start], name, if (which == .id) beside.items else "" };
            try out.appendSlice(to, chunk[from..member.key]);
            for (replacement) |piece| try out.appendSlice(to, piece);
            from = member.end;
            const own = chunk[member.key..member.end];
            // Others stand in other places as well: a tool call's id may be null, and 1 begins 12.
            const is_own = member.kind == .string or (member.kind == .null and which == .system_fingerprint);
            if (own.len > swaps.max_own or !is_own) continue;
            const swap = self.swaps.getPtr(which);
            swap.own_length, swap.at = .{ own.len, start + member.key };
            @memcpy(swap.own[0..own.len], own);
            swap.replacement.clearRetainingCapacity();
            for (replacement) |piece| try swap.replacement.appendSlice(allocator, piece);
        }
        return out.appendSlice(to, chunk[from..]);
    }
};
