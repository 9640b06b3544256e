"""One run, and an experiment on this machine: the only package that trains."""
