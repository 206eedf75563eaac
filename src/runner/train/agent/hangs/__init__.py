"""What waits without end: when training counts as hanging, whether processes are at work, their stacks, the store."""
