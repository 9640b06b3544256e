"""Confidence intervals, tests and power for arrays of outcomes: pure functions of arrays."""
