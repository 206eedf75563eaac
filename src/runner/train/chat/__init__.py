"""Talking to a run's model, in the terminal and in a browser."""
