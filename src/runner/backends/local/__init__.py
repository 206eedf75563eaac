"""Attempts as processes of this machine, and the supervisor that restarts them."""
