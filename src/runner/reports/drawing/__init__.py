"""Curves in a terminal: as one line of text, and as plots of braille dots."""
