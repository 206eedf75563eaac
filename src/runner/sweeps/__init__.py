"""Sweeps: what both programs know of them. A journal in the store is the whole truth of a sweep."""
