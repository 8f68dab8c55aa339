//! Text by blocks of characters, of which all are looked at together.

const std = @import("std");

/// Characters in a block.
pub const width = 32;
/// One for each character of a block, the first one's lowest.
pub const Bits = std.meta.Int(.unsigned, width);

const Block = @Vector(width, u8);

/// Where in the block that `text` begins with that character is.
pub inline fn equal(text: []const u8, character: u8) Bits {
    const block: Block = text[0..width].*;
    return bitsOf(block == @as(Block, @splat(character)));
}

/// The same of two characters.
pub inline fn either(text: []const u8, one: u8, other: u8) Bits {
    const block: Block = text[0..width].*;
    return bitsOf((block == @as(Block, @splat(one))) | (block == @as(Block, @splat(other))));
}

pub inline fn quotes(text: []const u8) Bits {
    return equal(text, '"');
}

pub inline fn backslashes(text: []const u8) Bits {
    return equal(text, '\\');
}

/// Where brackets and braces are.
pub inline fn brackets(text: []const u8) Bits {
    // `[` and `{` differ in this bit alone, as `]` and `}` do.
    const folded = @as(Block, text[0..width].*) | @as(Block, @splat(0x20));
    return bitsOf((folded == @as(Block, @splat('{'))) | (folded == @as(Block, @splat('}'))));
}

/// Whether all of `text` is ASCII.
pub fn isAscii(text: []const u8) bool {
    var all: Block = @splat(0);
    var at: usize = 0;
    while (at + width <= text.len) : (at += width) all |= @as(Block, text[at..][0..width].*);
    var rest: u8 = 0;
    for (text[at..]) |c| rest |= c;
    return (rest | @reduce(.Or, all)) < 128;
}

inline fn bitsOf(lanes: @Vector(width, bool)) Bits {
    const bits: Bits = @bitCast(lanes);
    // As a number from here on: LLVM would otherwise keep the lanes until they are asked for, and then take them one by one.
    return asm (""
        : [bits] "=r" (-> Bits),
        : [_] "0" (bits),
    );
}
