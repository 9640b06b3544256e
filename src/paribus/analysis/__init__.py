"""Store to tables, intervals, paired tests and findings. Pure."""
