"""Runs that are compared: which are meant, what is known of each, and what their sweeps add."""
