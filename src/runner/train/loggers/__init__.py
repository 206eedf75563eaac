"""Metric records, and the trackers that receive them besides the store."""
