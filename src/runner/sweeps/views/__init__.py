"""A sweep for people: what it will take, where it stands, and why."""
