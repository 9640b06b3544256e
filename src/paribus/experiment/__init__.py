"""The matrix of arms, one run, and an experiment on this machine."""
