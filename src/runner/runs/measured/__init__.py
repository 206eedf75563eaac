"""What was measured of a run beside its training: its machines, and what they cost."""
