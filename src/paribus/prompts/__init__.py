"""The only renderer of prompts, and their tokens."""
