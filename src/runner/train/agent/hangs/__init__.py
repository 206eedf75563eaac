"""Notice that training hangs: what counts as progress, whether processes are at work, and their stacks."""
