"""Attempts as containers of the training image on this machine."""
