//! Whole bodies: read into one piece, and replaced.

const std = @import("std");
const abi = @import("abi.zig");
const text = @import("text.zig");

const keep_bytes = 1024 * 1024;
const few_chunks = 64;
const large_piece = 4096;

/// Memory that a worker reuses from call to call.
pub const Scratch = struct {
    bytes: text.Text = .{},

    /// Empty memory to use until `clear`, which a bug may have kept the last call's hook from.
    pub fn begin(self: *Scratch) *text.Text {
        self.clear();
        return &self.bytes;
    }

    pub fn clear(self: *Scratch) void {
        if (self.bytes.capacity > keep_bytes) self.bytes.clearAndFree(std.heap.c_allocator) else self.bytes.clearRetainingCapacity();
    }
};

/// A worker's: memory on the stack would be filled with a pattern first.
threadlocal var few: [few_chunks]abi.Buffer = undefined;

/// Envoy's own bytes, which are there until they are drained, or a copy.
pub const Whole = struct { bytes: []const u8, is_copy: bool };

/// A whole body, of which `buffered` came before `received`; a copy, in `scratch`, if it is not in one piece.
pub fn whole(stream: *abi.Stream, buffered: abi.Body, received: abi.Body, scratch: *Scratch) !Whole {
    const allocator = std.heap.c_allocator;
    const before, const last = .{ stream.chunkCount(buffered), stream.chunkCount(received) };
    if (before + last == 1) {
        var one: [1]abi.Buffer = undefined;
        if (stream.chunks(if (before == 1) buffered else received, &one)) return .{ .bytes = one[0].slice(), .is_copy = false };
    }
    const copy = scratch.begin();
    try gather(stream, buffered, before, copy, allocator);
    try gather(stream, received, last, copy, allocator);
    return .{ .bytes = copy.items, .is_copy = true };
}

/// Appends all of `which`, which is in `count` pieces, to `into`.
pub fn gather(stream: *abi.Stream, which: abi.Body, count: usize, into: *text.Text, allocator: std.mem.Allocator) !void {
    if (count == 0) return;
    const chunks = if (count <= few.len) few[0..count] else try std.heap.c_allocator.alloc(abi.Buffer, count);
    defer if (count > few.len) std.heap.c_allocator.free(chunks);
    if (!stream.chunks(which, chunks)) return;
    try into.ensureUnusedCapacity(allocator, stream.bodySize(which));
    for (chunks) |chunk| try into.appendSlice(allocator, chunk.slice());
}

/// Writes a body in pieces: small ones are gathered, large ones go to Envoy as they are.
pub const Writer = struct {
    stream: *abi.Stream,
    which: abi.Body,
    small: *text.Text,
    written: usize = 0,

    pub fn write(self: *Writer, piece: []const u8) !void {
        self.written += piece.len;
        if (piece.len >= large_piece) {
            self.flush();
            self.stream.append(self.which, piece);
        } else try self.small.appendSlice(std.heap.c_allocator, piece);
    }

    pub fn flush(self: *Writer) void {
        if (self.small.items.len > 0) self.stream.append(self.which, self.small.items);
        self.small.clearRetainingCapacity();
    }
};

/// Says the length of the body that is there now.
pub fn setLength(stream: *abi.Stream, map: abi.HeaderMap, length: usize) void {
    var digits: [20]u8 = undefined;
    stream.setHeader(map, "content-length", text.decimal(&digits, length));
}
