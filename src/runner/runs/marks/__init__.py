"""Tags and notes that people put on runs."""
