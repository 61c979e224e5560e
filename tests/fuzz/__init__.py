"""Mutated snapshots, sidecars, journals and recipes: `python -m tests.fuzz --count 1000000 --seed 0`."""
