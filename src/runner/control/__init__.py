"""The operations on runs, one file per verb: what the Python API and the commands call."""
