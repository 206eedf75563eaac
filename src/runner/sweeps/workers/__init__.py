"""A sweep's workers in the store: when they were started, whether they live, what their hour costs."""
