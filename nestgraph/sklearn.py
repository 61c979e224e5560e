"""Estimators for scikit-learn: networks grown and pruned to a budget of connections (docs/scikit-learn.md)."""

from nestgraph.integrations.sklearn import NestClassifier, NestRegressor

__all__ = ["NestClassifier", "NestRegressor"]
