"""From a checked recipe to a run's ``run.json``: the same for a launch and for a sweep's trial."""
