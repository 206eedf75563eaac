"""What other tools' configs say, as recipes: one table for each tool, and one way to read, convert and write."""
