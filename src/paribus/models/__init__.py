"""Weights: where they come from, loading, adapters, precision, devices."""
