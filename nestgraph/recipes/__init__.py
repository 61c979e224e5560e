"""Recipes: every choice of a run in one record, and those that come with the package."""
