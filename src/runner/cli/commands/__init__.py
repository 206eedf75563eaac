"""One file per command: parse, call one function of `runner.control`, print."""
