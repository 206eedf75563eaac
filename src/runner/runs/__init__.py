"""What a run is in the store: keys, records, attempts, lineage, metrics, artifacts. Both programs use it."""
