"""Greedy generation and likelihood; and, pure, answers, scores and what went wrong."""
