"""The `builtin:` models and datasets, which are made on the spot."""
