"""Contradictions between settings, one module per section of the recipe."""
