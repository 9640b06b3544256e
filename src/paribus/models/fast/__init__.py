"""What replaces a model's own forward pass: the place to look when transformers changes."""
