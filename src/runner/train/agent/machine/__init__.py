"""What the agent measures of its machine. It neither imports torch nor holds a training up."""
