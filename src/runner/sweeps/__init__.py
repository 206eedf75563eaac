"""Sweeps: a space of recipes, drawn from, trained as runs, and compared."""
