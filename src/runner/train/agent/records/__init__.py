"""What the agent writes of a run and an attempt: the run as it was launched, heartbeats, how it ended."""
