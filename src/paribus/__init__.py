"""paribus: fine-tuning experiments with all else held equal, and which differences are real."""
