"""Greedy generation; and, pure, answers and scores."""
