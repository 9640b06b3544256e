"""A tiny model and tokenizer for tests, ours and yours."""
