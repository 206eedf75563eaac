"""Rows of a recipe as they are trained on, for `runner preview`."""
