"""Runs on disk: layout, atomic writes, manifests."""
