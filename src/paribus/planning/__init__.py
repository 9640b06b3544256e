"""What a run reads, checked before any compute is spent."""
