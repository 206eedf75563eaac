"""What runs and sweeps have cost."""
