"""The chat contract as a native module of Envoy's (Zig, and one file of C), and what compiles it."""
