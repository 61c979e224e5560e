"""Runs on disk: their folders, records and results, written and read without torch."""
