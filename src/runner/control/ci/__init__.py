"""What a job of a CI system does with runs: launch what has changed, report how it ended."""
