"""Networks as C for small chips: one file without dependencies, of floats or of int8."""
