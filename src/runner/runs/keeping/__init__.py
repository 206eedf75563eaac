"""Room in the store: what takes it, what is being deleted, and what others need."""
