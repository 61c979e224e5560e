"""Studies: sweeps over recipes, and tables of what came of many runs."""
