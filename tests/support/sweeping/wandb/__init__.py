"""W&B's own package for sweeps, in an environment of its own, which ours is compared with."""
