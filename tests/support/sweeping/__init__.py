"""Sweeps for tests: definitions, files, stories told event by event, simulated and real small ones."""
