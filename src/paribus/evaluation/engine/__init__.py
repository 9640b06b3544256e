"""Decoding and likelihood: what needs a model. The rest of `evaluation` is pure."""
