"""Several machines in one attempt: which one this is, the agents on those that are not the head, and how they do."""
