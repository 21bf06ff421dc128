"""Integer inference on this machine's CPU: a C library, and the runtime in front of it."""
