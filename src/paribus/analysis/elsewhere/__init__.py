"""Generations made by other programs, as the tables that findings are drawn from."""
