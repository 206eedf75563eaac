"""Where attempts run: one protocol (`base`), and a folder for each implementation."""
