"""What was measured of a run beside its training: its machines, what they did, and what they cost."""
