"""Fakes of our own protocols, and of the hub."""
