"""What an experiment file asks for: arms, pairs to compare, trials, runs. Pure."""
