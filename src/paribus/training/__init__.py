"""Examples to batches to loss to a tuned model."""
