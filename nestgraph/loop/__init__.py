"""The loop that grows, shifts and prunes: what to do next, and the engine that does it."""
