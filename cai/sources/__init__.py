"""Where data comes in: one module a source, each with the same two functions, and none that falls back to another."""
