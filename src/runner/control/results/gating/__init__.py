"""What a gate is made of: its expressions, and the values that they are held against."""
