"""From a recipe's data section to the rows that TRL is given."""
