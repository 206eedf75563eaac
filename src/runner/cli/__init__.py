"""The command line: options, output, and following a run."""
