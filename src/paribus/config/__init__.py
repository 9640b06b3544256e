"""Experiment files: schema, loading and merging, origins, identity."""
