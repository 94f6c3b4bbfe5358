"""The engine in its own process, and the client that owns the pipe to it."""
