"""Tests of nestgraph.render."""
