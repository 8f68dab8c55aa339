//! SHA-256 (FIPS 180-4), of which every call costs a few blocks: its key's, and its salt's.
//!
//! Not the standard library's: it uses the processor's own SHA instructions only where every processor that the program is
//! for has them, and its loop without them copies its 256 bytes of schedule eight times per step, ten times the work. The
//! tests hold this one to that one.

const std = @import("std");
const builtin = @import("builtin");

/// What `std.crypto.auth.hmac.Hmac` wants of a hash.
pub const Sha256 = struct {
    pub const block_length = 64;
    pub const digest_length = 32;
    pub const Options = struct {};

    state: [8]u32 = start,
    pending: [block_length]u8 = undefined,
    length: u64 = 0,

    pub fn init(_: Options) Sha256 {
        return .{};
    }

    pub fn hash(bytes: []const u8, out: *[digest_length]u8, options: Options) void {
        var self: Sha256 = .init(options);
        self.update(bytes);
        self.final(out);
    }

    pub fn update(self: *Sha256, bytes: []const u8) void {
        const held: usize = @intCast(self.length % block_length);
        self.length += bytes.len;
        var left = bytes;
        if (held > 0) {
            const count = @min(block_length - held, left.len);
            @memcpy(self.pending[held..][0..count], left[0..count]);
            left = left[count..];
            if (held + count < block_length) return;
            compress(&self.state, &self.pending);
        }
        while (left.len >= block_length) : (left = left[block_length..]) compress(&self.state, left[0..block_length]);
        @memcpy(self.pending[0..left.len], left);
    }

    pub fn final(self: *Sha256, out: *[digest_length]u8) void {
        const bits = self.length * 8;
        var padding = [_]u8{0x80} ++ [_]u8{0} ** (block_length + 7);
        const held: usize = @intCast(self.length % block_length);
        const count = (if (held < 56) @as(usize, 56) else 120) - held;
        std.mem.writeInt(u64, padding[count..][0..8], bits, .big);
        self.update(padding[0 .. count + 8]);
        for (self.state, 0..) |word, index| std.mem.writeInt(u32, out[index * 4 ..][0..4], word, .big);
    }
};

const start = [8]u32{ 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

/// The first 32 bits of the fractions of the cube roots of the first 64 primes.
const constants = roots: {
    @setEvalBranchQuota(100_000);
    var found: [64]u32 = undefined;
    var count: usize = 0;
    var candidate: u128 = 2;
    while (count < found.len) : (candidate += 1) {
        var divisor: u128 = 2;
        while (divisor * divisor <= candidate) : (divisor += 1) {
            if (candidate % divisor == 0) break;
        } else {
            // The greatest root with root³ ≤ candidate · 2⁹⁶, bit by bit.
            var root: u128 = 0;
            var bit: u128 = 1 << 34;
            while (bit > 0) : (bit >>= 1) {
                const larger = root | bit;
                if (larger * larger * larger <= candidate << 96) root = larger;
            }
            found[count] = @truncate(root);
            count += 1;
        }
    }
    break :roots found;
};

fn compress(state: *[8]u32, block: *const [Sha256.block_length]u8) void {
    if (builtin.cpu.arch == .x86_64 and x86.hasSha()) x86.compress(state, block) else plainly(state, block);
}

/// By the processor's own instructions.
const x86 = struct {
    const Words = @Vector(4, u32);
    const State = enum(u8) { unknown, lacks, has };
    var known: std.atomic.Value(State) = .init(.unknown);

    fn hasSha() bool {
        var state = known.load(.monotonic);
        if (state == .unknown) {
            // Bit 29 of EBX: the SHA instructions, which no processor has without the older ones used here.
            state = if (features() & 1 << 29 != 0) .has else .lacks;
            known.store(state, .monotonic);
        }
        return state == .has;
    }

    /// EBX of CPUID's leaf 7.
    fn features() u32 {
        return asm volatile ("cpuid"
            : [_] "={ebx}" (-> u32),
            : [_] "{eax}" (@as(u32, 7)),
              [_] "{ecx}" (@as(u32, 0)),
            : .{ .eax = true, .ecx = true, .edx = true });
    }

    fn compress(state: *[8]u32, block: *const [Sha256.block_length]u8) void {
        var words: [4]Words = undefined;
        inline for (0..16) |index| words[index / 4][index % 4] = std.mem.readInt(u32, block[index * 4 ..][0..4], .big);
        // As the instructions want them: the state's words f, e, b, a and h, g, d, c.
        var one: Words = .{ state[5], state[4], state[1], state[0] };
        var two: Words = .{ state[7], state[6], state[3], state[2] };
        inline for (0..16) |group| {
            const current = words[group % 4];
            const added = current +% @as(Words, constants[group * 4 ..][0..4].*);
            two = rounds(two, one, added);
            one = rounds(one, two, @shuffle(u32, added, undefined, [4]i32{ 2, 3, 2, 3 }));
            if (group < 12) {
                const last, const before = .{ words[(group + 3) % 4], words[(group + 2) % 4] };
                // The words seven before the new ones lie across two groups.
                const across = @shuffle(u32, before, last, [4]i32{ 1, 2, 3, -1 });
                words[group % 4] = late(early(current, words[(group + 1) % 4]) +% across, last);
            }
        }
        inline for (.{ one[3], one[2], two[3], two[2], one[1], one[0], two[1], two[0] }, 0..) |word, index| state[index] +%= word;
    }

    inline fn rounds(into: Words, other: Words, added: Words) Words {
        return asm ("sha256rnds2 %[other], %[into]"
            : [into] "=x" (-> Words),
            : [_] "0" (into),
              [other] "x" (other),
              [_] "{xmm0}" (added),
        );
    }

    inline fn early(words: Words, next: Words) Words {
        return asm ("sha256msg1 %[next], %[words]"
            : [words] "=x" (-> Words),
            : [_] "0" (words),
              [next] "x" (next),
        );
    }

    inline fn late(words: Words, last: Words) Words {
        return asm ("sha256msg2 %[last], %[words]"
            : [words] "=x" (-> Words),
            : [_] "0" (words),
              [last] "x" (last),
        );
    }
};

/// By what every processor has.
fn plainly(state: *[8]u32, block: *const [Sha256.block_length]u8) void {
    var schedule: [16]u32 = undefined;
    inline for (0..16) |index| schedule[index] = std.mem.readInt(u32, block[index * 4 ..][0..4], .big);
    var a, var b, var c, var d, var e, var f, var g, var h = state.*;
    inline for (0..64) |step| {
        if (step >= 16) {
            const early, const late = .{ schedule[(step + 1) % 16], schedule[(step + 14) % 16] };
            schedule[step % 16] +%= schedule[(step + 9) % 16] +%
                (rotated(early, 7) ^ rotated(early, 18) ^ (early >> 3)) +%
                (rotated(late, 17) ^ rotated(late, 19) ^ (late >> 10));
        }
        const one = h +% (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +% ((e & f) ^ (~e & g)) +%
            constants[step] +% schedule[step % 16];
        const two = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) +% ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d +% one;
        d = c;
        c = b;
        b = a;
        a = one +% two;
    }
    inline for (.{ a, b, c, d, e, f, g, h }, 0..) |word, index| state[index] +%= word;
}

inline fn rotated(word: u32, comptime bits: u5) u32 {
    return std.math.rotr(u32, word, bits);
}

test "digests are the standard library's, for all lengths and however the bytes come" {
    defer x86.known.store(.unknown, .monotonic);
    for ([_]x86.State{ .unknown, .lacks }) |known| {
        x86.known.store(known, .monotonic);
        try expectDigests();
    }
}

fn expectDigests() !void {
    var bytes: [300]u8 = undefined;
    var random: std.Random.DefaultPrng = .init(4);
    random.random().bytes(&bytes);
    for (0..bytes.len + 1) |length| {
        var wanted: [32]u8 = undefined;
        std.crypto.hash.sha2.Sha256.hash(bytes[0..length], &wanted, .{});
        var made: [32]u8 = undefined;
        Sha256.hash(bytes[0..length], &made, .{});
        try std.testing.expectEqual(wanted, made);
        var pieces: Sha256 = .init(.{});
        var at: usize = 0;
        while (at < length) {
            const count = @min(random.random().uintLessThan(usize, 130), length - at);
            pieces.update(bytes[at..][0..count]);
            at += count;
        }
        pieces.final(&made);
        try std.testing.expectEqual(wanted, made);
    }
}

test "the processor's own instructions give what plain ones do" {
    if (builtin.cpu.arch != .x86_64 or !x86.hasSha()) return error.SkipZigTest;
    var random: std.Random.DefaultPrng = .init(5);
    var state, var other = .{ start, start };
    for (0..1000) |_| {
        var block: [Sha256.block_length]u8 = undefined;
        random.random().bytes(&block);
        x86.compress(&state, &block);
        plainly(&other, &block);
        try std.testing.expectEqual(other, state);
    }
}
