"""What an attempt costs, and its end before the run costs more than its owner allows."""
