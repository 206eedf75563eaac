"""Sweeps: what is searched, which trial goes on, and the journal that says what has happened."""
