"""Intervals, tests and power for scores that are real numbers, for losses and for classes.

`paribus.statistics` has the same for problems that are solved or not, and the parts of both.
"""
