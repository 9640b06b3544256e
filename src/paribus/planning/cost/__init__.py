"""What a run takes: memory by part and moment, and time."""
