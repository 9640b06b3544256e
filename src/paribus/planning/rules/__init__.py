"""Known-bad combinations, one card each."""
