"""What is done with what runs have measured and made: compare, hold against requirements, fetch."""
