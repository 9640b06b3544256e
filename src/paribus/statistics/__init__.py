"""Intervals, tests and power over tables of solved problems. Pure: arrays in, figures out."""
