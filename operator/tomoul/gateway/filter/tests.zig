//! The sources that have unit tests; `zig test` starts here.

comptime {
    _ = @import("affinity.zig");
    _ = @import("asked.zig");
    _ = @import("choices.zig");
    _ = @import("completion.zig");
    _ = @import("digest.zig");
    _ = @import("document_tests.zig");
    _ = @import("events.zig");
    _ = @import("facts.zig");
    _ = @import("failure.zig");
    _ = @import("fuzz_tests.zig");
    _ = @import("held.zig");
    _ = @import("ids.zig");
    _ = @import("journal.zig");
    _ = @import("json.zig");
    _ = @import("keepalive.zig");
    _ = @import("limits_tests.zig");
    _ = @import("line.zig");
    _ = @import("loads.zig");
    _ = @import("metrics.zig");
    _ = @import("oversize.zig");
    _ = @import("reader.zig");
    _ = @import("salt.zig");
    _ = @import("seed.zig");
    _ = @import("stream_tests.zig");
    _ = @import("tenants.zig");
    _ = @import("text.zig");
    _ = @import("toolchoice.zig");
    _ = @import("usage.zig");
}
