"""What becomes of each key of each tool's configs."""
