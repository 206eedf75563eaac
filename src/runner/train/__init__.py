"""The program in the container: the entry points that `python -m` starts."""
