"""What to train: the recipe's dataclasses, its schema and its settings."""
