"""A run's checkpoints: which there are on its lineage, their files, which one is meant, which are deleted."""
