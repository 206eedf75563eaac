"""What takes room in a store and is no object: half-written uploads, and versions that were overwritten or deleted."""
